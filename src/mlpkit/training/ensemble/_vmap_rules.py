"""Rules of ``torch.vmap`` for linear layers, dropout and batch norm of several networks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.overrides import TorchFunctionMode

__all__ = ["DropoutCall", "VmapRules"]


class DropoutCall(NamedTuple):
    """One call of dropout in the forward pass of a network.

    Attributes:
        shape: Shape of its input.
        dtype: Type of its input.
        p: Probability of zeroing, in (0, 1).
    """

    shape: torch.Size
    dtype: torch.dtype
    p: float

    def draw(self, generators: Sequence[torch.Generator]) -> Tensor:
        """Return the scaled mask of each of G generators, ``(G, *shape)``, as torch draws it."""
        masks = torch.empty(len(generators), *self.shape, dtype=self.dtype)
        for mask, generator in zip(masks.unbind(), generators, strict=True):
            mask.bernoulli_(1.0 - self.p, generator=generator)
        return masks.div_(1.0 - self.p)


class VmapRules(TorchFunctionMode):
    """A mode in which functions of ``torch.nn.functional`` have other rules under ``torch.vmap``.

    A linear layer is one product for all networks. Batch norm is one call with the channels of all
    networks side by side, which updates the running statistics of each network; torch's rule does
    not update them. Dropout multiplies with given masks, since a function under ``torch.vmap``
    cannot draw from one generator per network. A forward pass within :meth:`tracing_dropout` finds
    the masks that are needed.
    """

    def __init__(self) -> None:
        super().__init__()
        self._masks: Iterator[Tensor] = iter(())
        self._dropout_calls: list[DropoutCall] | None = None

    @contextlib.contextmanager
    def tracing_dropout(self) -> Iterator[list[DropoutCall]]:
        """Collect the calls of dropout that draw a mask; dropout then returns its input."""
        self._dropout_calls = []
        try:
            yield self._dropout_calls
        finally:
            self._dropout_calls = None

    def set_masks(self, masks: Sequence[Tensor]) -> None:
        """Set the masks of the next calls of dropout, in their order."""
        self._masks = iter(masks)

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Call a function of torch, or its replacement."""
        kwargs = {} if kwargs is None else kwargs
        if func is F.linear:
            return _linear(*args, **kwargs)  # type: ignore[arg-type]  # the caller's arguments
        if func is F.dropout:
            return self._dropout(*args, **kwargs)  # type: ignore[arg-type]  # likewise
        if func is F.batch_norm:
            return _batch_norm(*args, **kwargs)  # type: ignore[arg-type]  # likewise
        return func(*args, **kwargs)

    def _dropout(
        self,
        input: Tensor,  # noqa: A002 - torch's name
        p: float = 0.5,
        training: bool = True,  # noqa: FBT001, FBT002 - torch's signature
        inplace: bool = False,  # noqa: FBT001, FBT002 - torch's signature
    ) -> Tensor:
        if not training or not 0.0 < p < 1.0:  # draws nothing
            return F.dropout(input, p, training, inplace)
        if self._dropout_calls is not None:
            self._dropout_calls.append(DropoutCall(input.shape, input.dtype, p))
            return input
        mask = next(self._masks)
        return input.mul_(mask) if inplace else input * mask


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:  # noqa: A002
    found: Tensor = _Linear.apply(input, weight, bias)
    return found


class _Context(Protocol):
    """The attributes of the context of an autograd function that are used here."""

    saved_tensors: tuple[Tensor, ...]
    needs_input_grad: tuple[bool, ...]

    def save_for_backward(self, *tensors: Tensor) -> None: ...


class _Info(Protocol):
    batch_size: int


class _Linear(torch.autograd.Function):
    """:func:`torch.nn.functional.linear` with another rule for vmap.

    torch's rule repeats a shared input for each network. One product with the concatenated weights
    of all networks is faster, and its gradient has the memory order of the parameters.
    """

    @staticmethod
    def forward(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002
        """Compute the layer of one network; called if no argument is batched."""
        return F.linear(input, weight, bias)

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple[object, ...], output: object) -> None:
        """Save nothing: without a batched argument there is no gradient."""

    @staticmethod
    def vmap(
        info: _Info,
        in_dims: tuple[int | None, int | None, int | None],
        input: Tensor,  # noqa: A002
        weight: Tensor,
        bias: Tensor | None,
    ) -> tuple[Tensor, int]:
        """Compute the layer of all networks; return the output and the position of its K axis."""
        count = info.batch_size
        x = input if in_dims[0] is None else input.movedim(in_dims[0], 0)
        if in_dims[1] is None and in_dims[2] is None:
            return F.linear(x, weight, bias), 0
        w = _stacked(weight, in_dims[1], count)  # (K, O, I)
        b = None if bias is None else _stacked(bias, in_dims[2], count)  # (K, O)
        if in_dims[0] is None:
            rows = x.reshape(-1, x.shape[-1])  # (*, I) -> (N, I)
            y: Tensor = _SharedInputLinear.apply(rows, w, b)
            return y.reshape(count, *x.shape[:-1], y.shape[-1]), 0
        rows = x.reshape(count, -1, x.shape[-1])  # (K, *, I) -> (K, N, I)
        y = _StackedInputLinear.apply(rows, w, b)
        return y.reshape(*x.shape[:-1], y.shape[-1]), 0


def _stacked(tensor: Tensor, dim: int | None, count: int) -> Tensor:
    if dim is None:
        return tensor.expand(count, *tensor.shape)
    return tensor.movedim(dim, 0)


class _SharedInputLinear(torch.autograd.Function):
    """The linear layers of all networks for the same input: ``(N, I)`` to ``(K, N, O)``.

    The memory order of the output is ``(K, O, N)``, so the values of a network are contiguous.
    """

    @staticmethod
    def forward(
        ctx: _Context,
        input: Tensor,  # noqa: A002
        weight: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        """Compute one product with the concatenated weights of all networks."""
        ctx.save_for_backward(input, weight)
        wide = weight.reshape(-1, weight.shape[-1])  # (K, O, I) -> (K O, I)
        x = input.t()
        y = wide @ x if bias is None else torch.addmm(bias.reshape(-1, 1), wide, x)
        return y.view(*weight.shape[:2], -1).mT

    @staticmethod
    def backward(
        ctx: _Context, gradient: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return the gradients; that of the weights is contiguous."""
        input, weight = ctx.saved_tensors  # noqa: A001
        rows = gradient.mT.reshape(-1, len(input))  # (K O, N)
        needs = ctx.needs_input_grad
        return (
            rows.t() @ weight.reshape(-1, weight.shape[-1]) if needs[0] else None,
            (rows @ input).view_as(weight) if needs[1] else None,
            rows.sum(1).view(weight.shape[:2]) if needs[2] else None,
        )


def _product(left: Tensor, right: Tensor, *, like: Tensor) -> Tensor:
    """Return the batched product in the memory order of ``like``."""
    if like.stride(-1) == 1:
        return torch.bmm(left, right)
    return torch.bmm(right.mT, left.mT).mT


class _StackedInputLinear(torch.autograd.Function):
    """The linear layers of all networks, each with its input: ``(K, N, I)`` to ``(K, N, O)``."""

    @staticmethod
    def forward(
        ctx: _Context,
        input: Tensor,  # noqa: A002
        weight: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        """Compute one batched product; the memory order of the output is ``(K, O, N)``.

        For few outputs the order ``(K, N, O)`` takes ten times as long (MKL 2024.2, torch 2.15).
        """
        ctx.save_for_backward(input, weight)
        if bias is None:
            return torch.bmm(weight, input.mT).mT
        return torch.baddbmm(bias.unsqueeze(2), weight, input.mT).mT

    @staticmethod
    def backward(
        ctx: _Context, gradient: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return the gradients; that of the weights is contiguous."""
        input, weight = ctx.saved_tensors  # noqa: A001
        needs = ctx.needs_input_grad
        return (
            _product(gradient, weight, like=input) if needs[0] else None,
            torch.bmm(gradient.mT, input) if needs[1] else None,
            gradient.sum(1) if needs[2] else None,
        )


def _batch_norm(
    input: Tensor,  # noqa: A002
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,  # noqa: FBT001, FBT002 - torch's signature
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    found: Tensor = _BatchNorm.apply(
        input, running_mean, running_var, weight, bias, training, momentum, eps
    )
    return found


class _BatchNorm(torch.autograd.Function):
    """:func:`torch.nn.functional.batch_norm` with a rule for vmap that updates the statistics."""

    @staticmethod
    def forward(
        input: Tensor,  # noqa: A002
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None,
        bias: Tensor | None,
        training: bool,  # noqa: FBT001 - torch's signature
        momentum: float,
        eps: float,
    ) -> Tensor:
        """Normalize for one network; called if no argument is batched."""
        return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple[object, ...], output: object) -> None:
        """Save nothing: without a batched argument there is no gradient."""

    @staticmethod
    def vmap(
        info: _Info,
        in_dims: tuple[int | None, ...],
        input: Tensor,  # noqa: A002
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None,
        bias: Tensor | None,
        training: bool,  # noqa: FBT001 - torch's signature
        momentum: float,
        eps: float,
    ) -> tuple[Tensor, int]:
        """Normalize for all networks; return the output and the position of its K axis."""
        count = info.batch_size
        x = _stacked(input, in_dims[0], count).movedim(0, 1)  # (N, K, C, *)
        mean, var, scale, shift = (
            None if tensor is None else _stacked(tensor, dim, count).reshape(-1)  # (K C)
            for tensor, dim in zip(
                (running_mean, running_var, weight, bias), in_dims[1:5], strict=True
            )
        )
        flat = x.flatten(1, 2)  # (N, K C, *)
        y = F.batch_norm(flat, mean, var, scale, shift, training, momentum, eps)
        return y.view(x.shape), 1
