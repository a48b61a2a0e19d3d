"""Where and how precisely a model computes: devices, autocast, evaluation mode, side streams."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from mlpkit._checks import error_message

__all__ = [
    "Precision",
    "SideStream",
    "accumulator_dtype",
    "autocast",
    "available_device",
    "evaluation_mode",
    "find_device",
    "has_autocast",
    "is_training",
]

Precision: TypeAlias = Literal["fp32", "bf16", "fp16"]

_AUTOCAST_DTYPES: dict[Precision, torch.dtype | None] = {
    "fp32": None,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


def has_autocast(precision: Precision) -> bool:
    """Return whether a forward pass in ``precision`` runs under autocast."""
    return _AUTOCAST_DTYPES[precision] is not None


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return the context manager that runs a forward pass in ``precision``."""
    dtype = _AUTOCAST_DTYPES[precision]
    return contextlib.nullcontext() if dtype is None else torch.autocast(device.type, dtype)


def accumulator_dtype(device: torch.device) -> torch.dtype:
    """Return the widest floating-point dtype of a device: MPS has no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def find_device(name: str) -> torch.device:
    """Return the device of a name; ``"auto"`` is the accelerator where there is one."""
    if name == "auto":
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        return torch.device("cpu") if accelerator is None else accelerator
    try:
        return torch.device(name)
    except (RuntimeError, TypeError) as error:
        rule = '"auto" or the name of a device of torch, for instance "cpu" or "cuda:0"'
        raise ValueError(error_message("device", rule, name)) from error


def available_device(name: str) -> torch.device:
    """Return the device of a name, if this machine has it: a configuration may come from another.

    Raises:
        ValueError: If torch cannot put a tensor there.
    """
    device = find_device(name)
    try:
        torch.empty(0, device=device)
    # a build without CUDA asserts, one without a driver has a RuntimeError
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        rule = 'a device that this machine has, for instance "cpu"'
        raise ValueError(error_message("device", rule, name, str(error).splitlines()[0])) from error
    return device


@contextlib.contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put every module into evaluation mode, and each back into its own afterwards."""
    in_training = [module for module in model.modules() if module.training]
    if not in_training:
        yield
        return
    try:
        model.eval()
        yield
    finally:
        for module in in_training:
            module.training = True


def is_training(module: nn.Module) -> bool:
    """Return whether a module or any within it is in training mode.

    Asked for every single input: twice as fast as a walk through ``modules()``.
    """
    parts = module._modules.values()
    return module.training or any(is_training(part) for part in parts if part is not None)


class SideStream:
    """A second stream within the record of a CUDA graph, for results that nothing waits for yet.

    The kernels of a small network do not fill a GPU, so two at a time take the time of one. Outside
    a record the work is done at once: there the host is what kernels wait for.

    Args:
        device: Where the work is done.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = _stream(device) if device.type == "cuda" else None
        self._is_busy = False
        self._in_use: list[Tensor] = []

    def do(self, work: Callable[[], None], *inputs: Tensor) -> None:
        """Do the work, beside what comes next if a graph is being recorded.

        Args:
            work: Writes to memory that nothing else touches before :meth:`join`.
            inputs: What it reads; kept, since their memory would be given to others.
        """
        if self._stream is None or not torch.cuda.is_current_stream_capturing():
            work()
            return
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            work()
        self._is_busy = True
        self._in_use += inputs

    def join(self) -> None:
        """Let what comes next wait for the work."""
        if self._stream is not None and self._is_busy:
            torch.cuda.current_stream(self._device).wait_stream(self._stream)
            self._is_busy = False
            self._in_use.clear()


@functools.cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """Return the one side stream of a device.

    For each stream that multiplies, cuBLAS takes tens of MiB and keeps them. The first product is
    therefore not one within a record, whose memory would be kept with it.
    """
    stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch types it so
    if not torch.cuda.is_current_stream_capturing():
        with torch.cuda.stream(stream):
            one = torch.ones(1, 1, device=device)
            torch.mm(one, one)
    return stream
