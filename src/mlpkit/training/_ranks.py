"""The processes of a run, and what they tell one another."""

from __future__ import annotations

import atexit
import importlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from mlpkit._checks import error_message

__all__ = ["ALONE", "Ranks", "join_ranks"]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Ranks:
    """The processes of a run, of which this is number ``rank``.

    All processes call each method together and in the same order, with the exception of
    :meth:`part`. With one process no method communicates.

    Attributes:
        rank: Number of this process, from 0.
        size: Number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files and the progress of the run."""
        return self.rank == 0

    def device(self, device: torch.device) -> torch.device:
        """Return the device of this process, where ``device`` has no index and there are many."""
        has_index = ":" in str(device)
        if self.size == 1 or device.type == "cpu" or has_index:
            return device
        return torch.device(device.type, int(os.environ.get("LOCAL_RANK", self.rank)))

    def part(self, count: int) -> slice:
        """Return the part of ``count`` items in order that belongs to this process.

        The sizes of the parts differ by at most one.
        """
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes, on its device."""
        if self.size == 1:
            return tensor
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    def largest(self, values: Sequence[int]) -> list[int]:
        """Return the largest of each value over all processes."""
        if self.size == 1:
            return list(values)
        found = torch.tensor(values, dtype=torch.int64)  # on the CPU: does not wait for a device
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return [int(value) for value in found]

    def gather(self, value: _T) -> list[_T]:
        """Return the value of every process, in the order of the ranks."""
        if self.size == 1:
            return [value]
        values: list[_T] = [value] * self.size
        dist.all_gather_object(values, value)
        return values

    def share(self, value: _T) -> _T:
        """Return the value of the first process."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values)
        return value if self.is_first else values[0]

    def do_on_first(self, action: Callable[[], None]) -> None:
        """Run the action on the first process; an exception in it is raised on all of them."""
        error: Exception | None = None
        if self.is_first:
            try:
                action()
            except Exception as raised:  # noqa: BLE001 - raised again on all processes
                error = raised
        error = self.share(error)
        if error is not None:
            raise error

    @torch.no_grad()
    def share_tensors(self, tensors: Iterable[Tensor]) -> None:
        """Give the tensors of every process the values of the first, in place."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)


#: The ranks of a run of one process.
ALONE = Ranks()


def join_ranks() -> Ranks:
    """Return the ranks of this process' group; in a process that ``torchrun`` launched, join it.

    A process without a group is the only one of its run.

    Raises:
        ValueError: If the group cannot exchange tensors on the CPU.
    """
    if not dist.is_available():
        return ALONE
    if not dist.is_initialized():
        if not dist.is_torchelastic_launched() or os.environ.get("WORLD_SIZE") == "1":
            return ALONE
        # DistributedDataParallel imports this module, whose functions have the default group of
        # their first import as a default argument: a group that is made before is never freed,
        # and its threads can abort the interpreter at its end.
        importlib.import_module("torch.distributed.nn.functional")
        dist.init_process_group()
        atexit.register(_leave)
    backends = dist.get_backend_config()
    if "cpu:" not in backends:
        rule = "a process group with a backend for the CPU"
        cure = "call init_process_group without a backend, or with 'cpu:gloo,cuda:nccl'"
        raise ValueError(error_message("the backend", rule, backends, cure))
    return Ranks(dist.get_rank(), dist.get_world_size())


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
