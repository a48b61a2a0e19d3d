"""What some layers do when ``torch.vmap`` runs many networks as one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.overrides import TorchFunctionMode

__all__ = ["DropoutSite", "VmapRules"]


class DropoutSite(NamedTuple):
    """One call of dropout within a forward pass of one network.

    Attributes:
        shape: Shape of its input.
        dtype: Type of its input.
        p: Probability of zeroing, in (0, 1).
    """

    shape: torch.Size
    dtype: torch.dtype
    p: float

    def draw(self, generators: Sequence[torch.Generator]) -> Tensor:
        """Return a mask for each network, ``(K, *shape)``, with the bits that torch would draw."""
        masks = torch.empty(len(generators), *self.shape, dtype=self.dtype)
        for mask, generator in zip(masks.unbind(), generators, strict=True):
            mask.bernoulli_(1.0 - self.p, generator=generator)
        return masks.div_(1.0 - self.p)


class VmapRules(TorchFunctionMode):
    """Within it, under ``torch.vmap``, a linear layer is one product and dropout takes masks.

    Batch norm is one call with the channels of all networks side by side, which moves the running
    statistics of each; torch's own rule for it moves none.

    ``torch.vmap`` may not draw random numbers from a generator for each network, so the masks are
    drawn before and multiplied here. Which masks are needed is noted by a pass within
    :meth:`recording`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._masks: Iterator[Tensor] = iter(())
        self._sites: list[DropoutSite] | None = None

    @contextlib.contextmanager
    def recording(self) -> Iterator[list[DropoutSite]]:
        """Note each call of dropout that would draw, and let its input pass."""
        self._sites = []
        try:
            yield self._sites
        finally:
            self._sites = None

    def use(self, masks: Sequence[Tensor]) -> None:
        """Take these masks, one for each call of dropout that is to come."""
        self._masks = iter(masks)

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Run a function of torch."""
        kwargs = {} if kwargs is None else kwargs
        if func is F.linear:
            return _linear(*args, **kwargs)  # type: ignore[arg-type]  # what the caller gave F.linear
        if func is F.dropout:
            return self._dropout(*args, **kwargs)  # type: ignore[arg-type]  # likewise
        if func is F.batch_norm:
            return _batch_norm(*args, **kwargs)  # type: ignore[arg-type]  # likewise
        return func(*args, **kwargs)

    def _dropout(
        self,
        input: Tensor,  # noqa: A002 - torch's word
        p: float = 0.5,
        training: bool = True,  # noqa: FBT001, FBT002 - torch's signature
        inplace: bool = False,  # noqa: FBT001, FBT002 - torch's signature
    ) -> Tensor:
        if not training or not 0.0 < p < 1.0:  # nothing is drawn
            return F.dropout(input, p, training, inplace)
        if self._sites is not None:
            self._sites.append(DropoutSite(input.shape, input.dtype, p))
            return input
        mask = next(self._masks)
        return input.mul_(mask) if inplace else input * mask


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:  # noqa: A002
    found: Tensor = _Linear.apply(input, weight, bias)
    return found


class _Context(Protocol):
    """What an autograd function keeps between its two halves."""

    saved_tensors: tuple[Tensor, ...]
    needs_input_grad: tuple[bool, ...]

    def save_for_backward(self, *tensors: Tensor) -> None: ...


class _Info(Protocol):
    batch_size: int


class _Linear(torch.autograd.Function):
    """:func:`torch.nn.functional.linear`; all that is special about it is its rule for vmap.

    torch's own rule repeats a shared input for each network; one product with all weights below
    one another is faster, and leaves the gradient in the order in which the optimizer reads it.
    """

    @staticmethod
    def forward(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002
        """Return the product of one network: only where vmap has nothing to do."""
        return F.linear(input, weight, bias)

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple[object, ...], output: object) -> None:
        """Keep nothing: a product of which no part is stacked has no gradient."""

    @staticmethod
    def vmap(
        info: _Info,
        in_dims: tuple[int | None, int | None, int | None],
        input: Tensor,  # noqa: A002
        weight: Tensor,
        bias: Tensor | None,
    ) -> tuple[Tensor, int]:
        """Return the products of all networks, and which axis counts them."""
        count = info.batch_size
        x = input if in_dims[0] is None else input.movedim(in_dims[0], 0)
        if in_dims[1] is None and in_dims[2] is None:
            return F.linear(x, weight, bias), 0
        w = _stacked(weight, in_dims[1], count)  # (K, O, I)
        b = None if bias is None else _stacked(bias, in_dims[2], count)  # (K, O)
        if in_dims[0] is None:
            rows = x.reshape(-1, x.shape[-1])  # (*, I) -> (N, I)
            y: Tensor = _OneInput.apply(rows, w, b)
            return y.reshape(count, *x.shape[:-1], y.shape[-1]), 0
        rows = x.reshape(count, -1, x.shape[-1])  # (K, *, I) -> (K, N, I)
        y = _OwnInputs.apply(rows, w, b)
        return y.reshape(*x.shape[:-1], y.shape[-1]), 0


def _stacked(tensor: Tensor, dim: int | None, count: int) -> Tensor:
    if dim is None:
        return tensor.expand(count, *tensor.shape)
    return tensor.movedim(dim, 0)


class _OneInput(torch.autograd.Function):
    """The same input through the linear layers of all networks: ``(N, I)`` to ``(K, N, O)``.

    The output lies in memory as ``(K, O, N)``, so that what belongs to one network is together.
    """

    @staticmethod
    def forward(
        ctx: _Context,
        input: Tensor,  # noqa: A002
        weight: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        """Return one product with the weights of all networks."""
        ctx.save_for_backward(input, weight)
        wide = weight.reshape(-1, weight.shape[-1])  # (K, O, I) -> (K O, I)
        x = input.t()
        y = wide @ x if bias is None else torch.addmm(bias.reshape(-1, 1), wide, x)
        return y.view(*weight.shape[:2], -1).mT

    @staticmethod
    def backward(
        ctx: _Context, gradient: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return the gradients, that of the weights in their own order."""
        input, weight = ctx.saved_tensors  # noqa: A001
        rows = gradient.mT.reshape(-1, len(input))  # (K O, N)
        needs = ctx.needs_input_grad
        return (
            rows.t() @ weight.reshape(-1, weight.shape[-1]) if needs[0] else None,
            (rows @ input).view_as(weight) if needs[1] else None,
            rows.sum(1).view(weight.shape[:2]) if needs[2] else None,
        )


def _product(left: Tensor, right: Tensor, *, like: Tensor) -> Tensor:
    """Return the batched product, in the memory order of ``like``: it meets it in what follows."""
    if like.stride(-1) == 1:
        return torch.bmm(left, right)
    return torch.bmm(right.mT, left.mT).mT


class _OwnInputs(torch.autograd.Function):
    """Another input for the linear layer of each network: ``(K, N, I)`` to ``(K, N, O)``."""

    @staticmethod
    def forward(
        ctx: _Context,
        input: Tensor,  # noqa: A002
        weight: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        """Return one batched product, in memory as ``(K, O, N)``.

        With few outputs the other order takes ten times as long (MKL 2024.2, torch 2.15).
        """
        ctx.save_for_backward(input, weight)
        if bias is None:
            return torch.bmm(weight, input.mT).mT
        return torch.baddbmm(bias.unsqueeze(2), weight, input.mT).mT

    @staticmethod
    def backward(
        ctx: _Context, gradient: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return the gradients, that of the weights in their own order."""
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
    """:func:`torch.nn.functional.batch_norm` with a rule for vmap that keeps the statistics."""

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
        """Normalize for one network: only where vmap has nothing to do."""
        return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple[object, ...], output: object) -> None:
        """Keep nothing: where no part is stacked there is no gradient."""

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
        """Normalize for all networks, and return which axis counts them."""
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
