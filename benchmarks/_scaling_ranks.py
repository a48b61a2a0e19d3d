"""What each of several processes measures: steps of the Trainer, and the sum of a vector."""

from __future__ import annotations

import contextlib
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import start_processes

from benchmarks import _hosts
from mlpkit import MLP
from mlpkit.data import LabeledTensors
from mlpkit.training import Callback, OptimizerConfig, StepInfo, Trainer, TrainerConfig

BATCH_SIZE = 512
WARM_UP = 2  # steps; DistributedDataParallel arranges its buckets after the first


class Condition(NamedTuple):
    """What a host can send: megabits in a second, and milliseconds until they arrive."""

    megabits: float | None = None
    milliseconds: float = 0.0


class Measured(NamedTuple):
    """What one process measured for one network under one condition.

    Attributes:
        step: Median seconds of a step of the Trainer.
        sent: Bytes of a step, with the headers of the packets.
        weights: All of them after the last step.
        reduction: Median seconds of summing as many numbers as the network has parameters.
    """

    step: float
    sent: float
    weights: Tensor
    reduction: float = 0.0


Key = tuple[tuple[int, ...], Condition]
"""Widths of the hidden layers, and the condition."""


class _Watch(Callback):
    """Notes the time and the bytes that were sent at the end of each step."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.seconds: list[float] = []
        self.sent: list[int] = []

    def on_step_end(self, trainer: Trainer, step: StepInfo) -> None:
        del trainer, step
        self.seconds.append(time.perf_counter())
        self.sent.append(_hosts.bytes_sent(self.device))


def train(hidden_features: tuple[int, ...], steps: int, device: str) -> Measured:
    """Train 784-...-10 on random numbers in this process, which may be one of several."""
    generator = torch.Generator().manual_seed(0)
    count = BATCH_SIZE * (WARM_UP + steps)
    data = LabeledTensors(
        torch.rand(count, 784, generator=generator),
        torch.randint(10, (count,), generator=generator),
    )
    network = MLP(784, hidden_features, 10, generator=generator)
    watch = _Watch(device)
    # AdamW divides a gradient by its size, so it turns the rounding of a gradient near 0 into
    # a part of the learning rate.
    config = TrainerConfig(
        epochs=1,
        batch_size=BATCH_SIZE,
        optimizer=OptimizerConfig(name="sgd", lr=0.01),
        device="cpu",
        progress=False,
    )
    Trainer(network, config, callbacks=[watch]).fit(data)
    ends = watch.seconds[WARM_UP - 1 :]
    return Measured(
        step=statistics.median(b - a for a, b in itertools.pairwise(ends)),
        sent=(watch.sent[-1] - watch.sent[WARM_UP - 1]) / steps,
        weights=torch.cat([weight.detach().flatten() for weight in network.parameters()]),
    )


def measure(
    networks: Sequence[tuple[int, ...]],
    size: int,
    steps: int,
    conditions: Sequence[Condition],
    *,
    has_hosts: bool,
) -> list[dict[Key, Measured]]:
    """Return what each of several processes measures.

    Args:
        networks: Widths of the hidden layers of each.
        size: Number of processes; one trains without a group.
        steps: Steps that are measured, after those of the warm-up.
        conditions: What the hosts can send; the first one has no limit.
        has_hosts: Whether each process has a namespace; otherwise all share the loopback device.
    """
    if size == 1:
        torch.set_num_threads(1)
        return [{(hidden, Condition()): train(hidden, steps, "lo") for hidden in networks}]
    with tempfile.TemporaryDirectory() as at, contextlib.ExitStack() as stack:
        names = stack.enter_context(_hosts.hosts(size)) if has_hosts else []
        arguments = (names, tuple(networks), size, steps, tuple(conditions), at)
        # Daemons end with this process, also at Ctrl-C.
        start_processes(_run, arguments, nprocs=size, daemon=True)  # type: ignore[no-untyped-call]  # not annotated
        files = [torch.load(Path(at, f"{rank}.pt"), weights_only=False) for rank in range(size)]
    return [{key: Measured(*found) for key, found in file} for file in files]


def _run(
    rank: int,
    names: Sequence[str],
    networks: Sequence[tuple[int, ...]],
    size: int,
    steps: int,
    conditions: Sequence[Condition],
    at: str,
) -> None:
    torch.set_num_threads(1)
    if names:
        _hosts.enter(names[rank])
    device = _hosts.DEVICE if names else "lo"
    os.environ["GLOO_SOCKET_IFNAME"] = device
    dist.init_process_group("gloo", init_method=f"file://{at}/store", rank=rank, world_size=size)
    found = []
    for condition in conditions:
        if names:
            _hosts.limit(*condition)
        dist.barrier()
        for hidden in networks:
            trained = train(hidden, steps, device)
            reduction = _reduce(trained.weights.numel(), steps)
            sent = trained.sent if names else trained.sent / size  # all share the loopback device
            one = trained._replace(sent=sent, reduction=reduction)
            found.append(((hidden, condition), tuple(one)))
    torch.save(found, f"{at}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def _reduce(count: int, repeats: int) -> float:
    vector, seconds = torch.zeros(count), []
    for _ in range(repeats):
        dist.barrier()
        start = time.perf_counter()
        dist.all_reduce(vector)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)
