"""Devices, autocast, random state, evaluation mode and CUDA side streams."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
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
    "check_device",
    "evaluation_mode",
    "find_device",
    "has_autocast",
    "has_fast_bf16",
    "is_training",
    "matmul_speed",
    "random_state",
    "seed_of",
    "set_random_state",
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
    """Return the dtype with the highest precision on a device: float64, or float32 on MPS."""
    return torch.float32 if device.type == "mps" else torch.float64


def find_device(name: str) -> torch.device:
    """Return the device with a name; ``"auto"`` is the accelerator, or the CPU without one."""
    if name == "auto":
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        return torch.device("cpu") if accelerator is None else accelerator
    try:
        return torch.device(name)
    except (RuntimeError, TypeError) as error:
        rule = '"auto" or the name of a torch device, such as "cpu" or "cuda:0"'
        raise ValueError(error_message("device", rule, name)) from error


def available_device(name: str) -> torch.device:
    """Return the device with a name, after checking that this machine has it.

    Raises:
        ValueError: If torch cannot allocate a tensor on the device.
    """
    return check_device(find_device(name))


def check_device(device: torch.device | str) -> torch.device:
    """Return a device, after checking that this machine has it.

    Raises:
        TypeError: If it is neither a device nor a name.
        ValueError: If it is no device of torch, or torch cannot allocate a tensor on it.
    """
    given: object = device
    if not isinstance(given, torch.device | str | int) or isinstance(given, bool):
        raise TypeError(error_message("device", "a torch.device or its name", given))
    try:
        found = torch.device(given)
    except RuntimeError as error:
        rule = 'the name of a torch device, such as "cpu" or "cuda:0"'
        raise ValueError(error_message("device", rule, given)) from error
    try:
        torch.empty(0, device=found)
    # torch built without CUDA raises AssertionError; without a driver, RuntimeError
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        rule = 'a device that this machine has, such as "cpu"'
        cure = f"torch finds {_device_names()}"
        raise ValueError(error_message("device", rule, str(given), cure)) from error
    return found


def _device_names() -> str:
    """Return the names of the devices that torch can use, such as ``cpu, cuda:0``."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    names = ["cpu"]
    if accelerator is not None:
        count = torch.accelerator.device_count()
        names += [f"{accelerator.type}:{index}" for index in range(count)]
    return ", ".join(names)


def matmul_speed(
    device: torch.device, dtype: torch.dtype, *, size: int, time_limit: float
) -> float:
    """Return the best measured speed of a product of square matrices, in flop/s.

    Args:
        device: Device of the product.
        dtype: Data type of the matrices.
        size: Number of rows and columns.
        time_limit: Duration of the measurement after a warmup product, in seconds.

    Raises:
        RuntimeError: If torch has no such product on the device.
    """
    matrix = torch.ones(size, size, device=device, dtype=dtype)
    best = float("inf")
    deadline = float("inf")
    while time.perf_counter() < deadline:
        start = time.perf_counter()
        float((matrix @ matrix)[0, 0])  # reading an element synchronizes with the device
        seconds = time.perf_counter() - start
        if deadline == float("inf"):  # warmup: the first product initializes the kernels
            deadline = time.perf_counter() + time_limit
            best = seconds if seconds > time_limit else best
        else:
            best = min(best, seconds)
    return 2.0 * size**3 / best


@functools.cache
def has_fast_bf16(device: torch.device) -> bool:
    """Return whether bf16 matrix products are at least as fast as fp32 products on a device.

    It is measured at the first call for a device, which takes less than a second.
    """
    try:
        bf16 = matmul_speed(device, torch.bfloat16, size=512, time_limit=0.03)
    except RuntimeError:
        return False
    return bf16 >= matmul_speed(device, torch.float32, size=512, time_limit=0.03)


def random_state(device: torch.device) -> dict[str, Tensor]:
    """Return the states of torch's global generators of the CPU and of a device, by their type."""
    state = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        state[device.type] = torch.get_device_module(device).get_rng_state(device)
    return state


def set_random_state(device: torch.device, state: Mapping[str, Tensor]) -> None:
    """Restore what :func:`random_state` returned; a device that has no state there keeps its own.

    A checkpoint of a run on the CPU has none of an accelerator.
    """
    torch.set_rng_state(state["cpu"])
    if device.type != "cpu" and device.type in state:
        torch.get_device_module(device).set_rng_state(state[device.type], device)


def seed_of(text: str) -> int:
    """Return a 56-bit seed: a hash of a text, the same on every machine.

    Seeds that users count from 0 are hashed together with the name of their use, so that two uses
    of one seed do not draw the same numbers.
    """
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])


@contextlib.contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put every module into evaluation mode; on exit restore the mode of each module."""
    if not is_training(model):
        yield
        return
    in_training = [module for module in model.modules() if module.training]
    try:
        model.eval()
        yield
    finally:
        for module in in_training:
            module.training = True


def is_training(module: nn.Module) -> bool:
    """Return whether a module or any of its submodules is in training mode.

    It runs for every prediction; the recursion is twice as fast as a loop over ``modules()``.
    """
    parts = module._modules.values()
    return module.training or any(is_training(part) for part in parts if part is not None)


class SideStream:
    """A second stream in the capture of a CUDA graph, for results that are needed only later.

    The kernels of a small network do not fill a GPU, so two kernels can run in parallel. Outside of
    a capture the work runs immediately on the current stream: there the time is limited by kernel
    launches, and a second stream does not help.

    Args:
        device: Device of the work; on other devices than CUDA it always runs immediately.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = _stream(device) if device.type == "cuda" else None
        self._is_busy = False
        self._in_use: list[Tensor] = []

    def do(self, work: Callable[[], None], *inputs: Tensor) -> None:
        """Run the work; during a capture, in parallel to what the current stream does next.

        Args:
            work: A function that writes to memory that nothing else uses before :meth:`join`.
            inputs: The tensors that it reads; they are kept until :meth:`join`, so that their
                memory is not reused.
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
        """Make the current stream wait for the work."""
        if self._stream is not None and self._is_busy:
            torch.cuda.current_stream(self._device).wait_stream(self._stream)
            self._is_busy = False
            self._in_use.clear()


@functools.cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """Return the side stream of a device, which is created once.

    cuBLAS allocates a workspace of tens of MiB for each stream at its first product, and keeps it.
    That product runs here, before a capture, so that the workspace is not in a graph's memory pool.
    """
    stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch.cuda.Stream has no annotations
    if not torch.cuda.is_current_stream_capturing():
        with torch.cuda.stream(stream):
            one = torch.ones(1, 1, device=device)
            torch.mm(one, one)
    return stream
