"""A graph capture for any device: the calls of a step, noted once and repeated.

Like a CUDA graph it computes nothing during the capture, repeats the calls on the same tensors,
whatever the host has decided since, and refuses what a graph cannot hold: a value that the host
reads, a constant that the host copies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

_Result = TypeVar("_Result")
_IMPOSSIBLE = ("aten._local_scalar_dense", "aten.lift_fresh", "aten.nonzero")


class Tape:
    """Captures the calls of a step, and counts its captures and warmup steps."""

    def __init__(self) -> None:
        self.num_warmups = self.num_captured = 0

    def warmup(self, work: Callable[[], _Result]) -> _Result:
        """Do the work."""
        self.num_warmups += 1
        return work()

    def capture(self, work: Callable[[], _Result]) -> tuple[_Result, Callable[[], None]]:
        """Return the tensors of the result, and the function that repeats the calls."""
        self.num_captured += 1
        calls = _Calls()
        with calls:
            result = work()
        calls.undo()
        return result, calls.repeat


class _Calls(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch types it so
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self._made: list[tuple[OpOverload, tuple[object, ...], dict[str, object], object]] = []
        self._before: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        if str(func).startswith(_IMPOSSIBLE):
            raise RuntimeError(f"operation not permitted when stream is capturing: {func}")
        options = dict(kwargs or {})
        self._before += [(tensor, tensor.clone()) for tensor in _written(func, args, options)]
        out: object = func(*args, **options)
        self._made.append((func, args, options, out))
        return out

    @torch.no_grad()
    def undo(self) -> None:
        """Undo what was computed during the capture."""
        for tensor, value in reversed(self._before):
            tensor.copy_(value)

    @torch.no_grad()
    def repeat(self) -> None:
        """Repeat every call, with its result in the same memory."""
        for func, args, options, out in self._made:
            again: object = func(*args, **options)
            inputs = {_place(each) for each in _tensors((args, tuple(options.values())))}
            for old, new in zip(_tensors(out), _tensors(again), strict=True):
                if _place(old) not in inputs:  # else a view, or written there already
                    old.copy_(new)


def _written(
    func: OpOverload, args: tuple[object, ...], options: Mapping[str, object]
) -> Iterator[Tensor]:
    """Give the tensors that a call writes to."""
    for position, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            given = args[position] if position < len(args) else options.get(argument.name)
            yield from _tensors(given)


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _tensors(each)


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
