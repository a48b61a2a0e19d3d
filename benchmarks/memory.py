"""Peak memory of a training process: ``python -m benchmarks.memory --only mlpkit hand``."""

from __future__ import annotations

import resource
import statistics
import sys
from collections.abc import Callable, Sequence

from benchmarks import _command_line, _machine
from benchmarks._figures import table
from benchmarks._workers import Worker
from benchmarks.contenders import CONTENDERS, Workload
from benchmarks.contenders import build as build_contender

DEFAULT = (
    "mlpkit",
    "hand-fused",
    "tensordataset",
    "sklearn",
    "skorch",
    "lightning",
    "keras",
    "jax",
)
PIXELS = 784 * 70_000
MEBIBYTE = 2**20


def peak() -> float:
    """Return the largest resident memory of this process so far, in MiB."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / 1024 if sys.platform == "linux" else used / MEBIBYTE


def build_import() -> Callable[[int], float]:
    """Return the measure of a process that has imported torch and nothing else."""
    __import__("torch")
    return lambda _seed: peak()


def build_training(name: str, workload: Workload) -> Callable[[int], float]:
    """Return the measure of a process that has read MNIST and trained an epoch of it."""
    turn = build_contender(name, workload)

    def measured(seed: int) -> float:
        turn(seed)
        return peak()

    return measured


def median_peak(
    name: str, build: Callable[..., Callable[[int], float]], given: Sequence[object], count: int
) -> float:
    """Return the median over processes, each measured once."""
    peaks = []
    for _ in range(count):
        with Worker(name, build, given) as worker:
            peaks.append(worker.turn(0))
    return statistics.median(peaks)


def main(arguments: Sequence[str]) -> int:
    """Measure each contender in fresh processes."""
    parser = _command_line.parser("benchmarks.memory", __doc__, repeats=3)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=DEFAULT, metavar="NAME")
    options = parser.parse_args(arguments)
    load_before = _machine.load()
    _machine.use_processors(options.threads)
    workload = Workload()
    imported = median_peak("import torch", build_import, (), options.repeats)
    # Weights, their gradients and the two moments of Adam, 4 bytes each.
    needed = imported + PIXELS / MEBIBYTE + workload.num_parameters * 4 * 4 / MEBIBYTE
    rows = [
        ["torch imported", f"{imported:.0f}", "-"],
        ["torch imported + images as uint8 + parameters x 4", f"{needed:.0f}", "1"],
    ]
    for name in options.only:
        if CONTENDERS[name].installed:
            found = median_peak(name, build_training, (name, workload), options.repeats)
            rows.append([CONTENDERS[name].title, f"{found:.0f}", f"{found / needed:.2f}"])
    parts = [
        f"Peak resident memory of a process that reads MNIST, trains an epoch (784-512-256-10, "
        f"batch 128) and measures the test accuracy; median of {options.repeats} processes:",
        table(["process", "MiB", "times what is needed"], rows),
    ]
    _command_line.report("memory", arguments, load_before, parts, write=options.write)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
