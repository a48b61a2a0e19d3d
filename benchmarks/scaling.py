"""Several processes, one on each host, and more devices: ``python -m benchmarks.scaling``.

The hosts are network namespaces, which need root; without it the processes share the loopback
device. What more devices would reach is computed, not measured.
"""

from __future__ import annotations

import itertools
import statistics
import sys
from collections.abc import Mapping, Sequence

import torch

from benchmarks import _command_line, _hosts, _machine
from benchmarks import _scaling_model as model
from benchmarks._figures import table
from benchmarks._scaling_ranks import BATCH_SIZE, Condition, Key, Measured, measure

NETWORKS = ((512, 256), (2048, 2048))
RTOL, ATOL = 1e-5, 1e-6
MILLISECONDS = 1.0  # of latency, where the kernel can delay packets

# The data sheet of the NVIDIA H100 SXM, and the parts of it that programs are assumed to reach.
FLOPS, FLOPS_REACHED = 989e12, 0.4
MEMORY_BANDWIDTH, MEMORY_BANDWIDTH_REACHED = 3.35e12, 0.8
H100 = model.Device(
    flops=FLOPS * FLOPS_REACHED,
    memory_bandwidth=MEMORY_BANDWIDTH * MEMORY_BANDWIDTH_REACHED,
    memory=80e9,
)
LINKS = {
    "NVLink": model.Link(bandwidth=450e9, latency=3e-6),
    "InfiniBand": model.Link(bandwidth=50e9, latency=5e-6),
    "Ethernet": model.Link(bandwidth=12.5e9, latency=10e-6),
}
DEVICES = (8, 64, 1024)
IN_ONE_HOST = 8  # devices that NVLink connects
COMPUTED_NETWORKS = (*NETWORKS, (16384,) * 8)
ALL, EACH = 65_536, 8_192  # examples of a step: on all devices together, or on each
LAYERS = (10, 100)


def shape(hidden_features: Sequence[int]) -> str:
    """Return the widths as the tables show them."""
    if len(hidden_features) > 2:
        return f"784-({len(hidden_features)} x {hidden_features[0]})-10"
    return "-".join(map(str, (784, *hidden_features, 10)))


def parameters(hidden_features: Sequence[int]) -> int:
    """Return the number of weights and biases of 784-...-10."""
    widths = (784, *hidden_features, 10)
    return sum((a + 1) * b for a, b in itertools.pairwise(widths))


def traffic(found: Mapping[int, Sequence[Mapping[Key, Measured]]]) -> str:
    """Return the table of bytes and weights."""
    rows = []
    for hidden in NETWORKS:
        alone = found[1][0][hidden, Condition()].weights
        for size, ranks in found.items():
            everything = [rank[key] for rank in ranks for key in rank if key[0] == hidden]
            sent = statistics.mean(rank[hidden, Condition()].sent for rank in ranks) / 1e6
            wanted = model.ring_bytes(4 * parameters(hidden), size) / 1e6
            differences = [float((one.weights - alone).abs().max()) for one in everything]
            first = everything[0].weights
            rows.append(
                [
                    f"{shape(hidden)}, {size}",
                    *([f"{sent:.2f}", f"{wanted:.2f}"] if size > 1 else ["-", "-"]),
                    f"{sent / wanted:.3f}" if size > 1 else "-",
                    f"{max(differences):.1g}",
                    "yes" if all(torch.equal(one.weights, first) for one in everything) else "no",
                ]
            )
    header = (
        *("network, processes", "MB sent in a step", "MB of a ring", "ratio"),
        *("largest difference of a weight", "same bits everywhere"),
    )
    return table(header, rows)


def times(
    found: Mapping[int, Sequence[Mapping[Key, Measured]]], conditions: Sequence[Condition]
) -> str:
    """Return the table of milliseconds."""
    rows = []
    for hidden in NETWORKS:
        for size, (first, *_) in found.items():
            row = [f"{shape(hidden)}, {size}"]
            for condition in conditions:
                one = first.get((hidden, condition))
                if one is None:
                    row += ["-", "-"]
                    continue
                reduction = f"{1e3 * one.reduction:.0f}" if size > 1 else "-"
                if condition.megabits is not None:
                    link = model.Link(
                        bandwidth=condition.megabits * 1e6 / 8,
                        latency=condition.milliseconds / 1e3,
                    )
                    computed = sum(model.ring(4 * parameters(hidden), size, link))
                    reduction += f" ({1e3 * computed:.0f})"
                row += [reduction, f"{1e3 * one.step:.0f}"]
            rows.append(row)
    header = ["network, processes"]
    for condition in conditions:
        rate = f"{condition.megabits:g} Mbit/s" if condition.megabits else "no limit"
        limit = rate + (f", {condition.milliseconds:g} ms" if condition.milliseconds else "")
        header += [f"sum, {limit}", f"step, {limit}"]
    return table(header, rows)


def is_equal(found: Mapping[int, Sequence[Mapping[Key, Measured]]]) -> bool:
    """Return whether all processes have the weights of one within the tolerance."""
    return all(
        torch.allclose(one.weights, found[1][0][hidden, Condition()].weights, RTOL, ATOL)
        for ranks in found.values()
        for rank in ranks
        for (hidden, _), one in rank.items()
    )


def efficiencies(batch: float, *, is_each: bool) -> str:
    """Return the table of efficiencies, of ``batch`` examples on each device or on all."""
    rows = []
    for hidden in COMPUTED_NETWORKS:
        for devices in DEVICES:
            row = [f"{shape(hidden)}, {devices:,}"]
            for name, link in LINKS.items():
                if name == "NVLink" and devices > IN_ONE_HOST:
                    row.append("-")
                    continue
                part = batch if is_each else batch / devices
                one = model.step(parameters(hidden), batch, 1, H100, link)
                many = model.step(parameters(hidden), part, devices, H100, link)
                speedup = one.seconds / many.seconds
                efficiency = speedup if is_each else speedup / devices
                row.append(f"{100 * efficiency:.1f} %, {many.bottleneck}")
            rows.append(row)
    return table(["network, devices", *LINKS], rows)


def hidden_batches() -> str:
    """Return the batches for which the links are fast enough."""
    return ", ".join(
        f"{model.hidden_batch(H100, link):,.0f} with {name}" for name, link in LINKS.items()
    )


def largest() -> str:
    """Return the table of the largest networks."""
    rows = [
        [
            f"{devices:,}",
            f"{model.largest_replicated(H100.memory) / 1e9:.1f}",
            *(
                f"{model.largest_sharded(H100.memory, devices, layers) / 1e9:.1f}"
                for layers in LAYERS
            ),
        ]
        for devices in (1, *DEVICES)
    ]
    header = ["devices", "DDP", *(f"FSDP, {layers} layers" for layers in LAYERS)]
    return table(header, rows)


def assumptions() -> str:
    """Return the figures of the computed tables."""
    links = "; ".join(
        f"{name}, {link.bandwidth / 1e9:g} GB/s in each direction and {1e6 * link.latency:g} us"
        for name, link in LINKS.items()
    )
    return (
        f"Assumed: NVIDIA H100 SXM, {100 * FLOPS_REACHED:.0f} % of {FLOPS / 1e12:.0f} TFLOP/s "
        f"(dense bf16), {100 * MEMORY_BANDWIDTH_REACHED:.0f} % of "
        f"{MEMORY_BANDWIDTH / 1e12:g} TB/s, {H100.memory / 1e9:.0f} GB; {links} for a message "
        f"of each device; buckets of {model.BUCKET_BYTES / 2**20:.0f} MiB."
    )


def main(arguments: Sequence[str]) -> int:
    """Measure, compute and print; return 1 if the weights are not those of one process."""
    parser = _command_line.parser("benchmarks.scaling", __doc__, repeats=5)
    parser.add_argument("--processes", type=int, default=4, help="the largest number of them")
    parser.add_argument("--megabits", type=float, nargs="*", default=[1000, 200])
    options = parser.parse_args(arguments)
    load_before = _machine.load()
    _machine.use_processors(options.threads)
    lacks = _hosts.missing()
    conditions = [Condition()]
    if lacks is None:
        conditions += [Condition(megabits) for megabits in options.megabits]
        if _hosts.has_latency():
            conditions += [Condition(megabits, MILLISECONDS) for megabits in options.megabits]
            where = "Each process is in a network namespace."
        else:
            where = (
                "Each process is in a network namespace. This kernel has no `netem`, so latency "
                "is not set."
            )
    else:
        where = (
            f"This machine lacks {lacks}, which network namespaces need: all processes share "
            "the loopback device, and the bytes are what it sends divided by their number."
        )
        print(where, file=sys.stderr)
    found = {
        size: measure(NETWORKS, size, options.repeats, conditions, has_hosts=lacks is None)
        for size in range(1, options.processes + 1)
    }
    parts = [
        f"**Measured**: {options.repeats} steps of SGD after a warm-up, {BATCH_SIZE} examples in a "
        f"step of all processes together; gloo, one thread for each process. {where}",
        traffic(found),
        "Median milliseconds of the sum of the gradients alone, in brackets computed for a "
        "ring, and of a step. The processors are shared, so more processes are not faster:",
        times(found, conditions),
        f"**Computed**: {assumptions()}",
        f"Efficiency and the longest part of a step, {ALL:,} examples on all devices together:",
        efficiencies(ALL, is_each=False),
        f"The same, {EACH:,} examples on each device:",
        efficiencies(EACH, is_each=True),
        f"Smallest number of examples on each device whose backward pass takes as long as the sum "
        f"of the gradients, for many devices: {hidden_batches()}.",
        "Billions of parameters that fit the memory of each device, without activations. DDP has a "
        "copy of the network on each device. FSDP divides it, except for the layer that is "
        "computed; the columns say how many layers of one size the network has:",
        largest(),
    ]
    _command_line.report("scaling", arguments, load_before, parts, write=options.write)
    if not is_equal(found):
        print(f"the weights of one process differ by more than rtol={RTOL:g}, atol={ATOL:g}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
