"""The embedding of the columns of a table, for several networks in training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlpkit.nn.tabular import (
    CategoryEmbedding,
    FeatureEmbedding,
    FeatureScaling,
    OneHot,
    PiecewiseLinearEmbedding,
    RobustScaling,
)

__all__ = ["StackedEmbedding"]

_Stacks = Mapping[nn.Parameter, nn.Parameter]


class _Part(Protocol):
    """Passes of some columns, scaled by the factors of :class:`FeatureScaling`."""

    def forward(self, x: Tensor, scale: Tensor, out: Tensor) -> None:
        """Write the scaled outputs into ``out``, ``(K, D, N)``, given the factors, ``(K, D)``."""
        ...

    def backward(self, grad: Tensor) -> Tensor:
        """Set the gradients of the stacks, and return that of the factors, ``(K, D)``.

        Args:
            grad: Gradient of the scaled outputs, ``(K, D, N)``.
        """
        ...


class StackedEmbedding:
    r"""Forward and backward pass of the embeddings of K networks, without autograd's graph.

    The statistics of the inputs are the same in all networks, so for a shared input the encoding
    :math:`e` of a number is computed once. Its embedding is linear in its parameters, so the
    factors :math:`s` multiply the parameters instead of the outputs:

    .. math::
        y_k = (s_k \odot V_k)\, e + s_k \odot a_k, \qquad
        \frac{\partial L}{\partial s_k} = \sum_t V_{kt} \odot G_{kt} + a_k \odot \sum_n g_{kn},
        \quad G_{kt} = \sum_n g_{kn}\, e_{nt}

    Args:
        embedding: The embedding of one of the networks.
        stacks: For each parameter of ``embedding``, the stack of that parameter of all networks.
        shared: Whether all networks have the same input.

    Shape:
        - Input: ``(N, F)`` if it is shared, else ``(K, N, F)``.
        - Output, and its gradient: ``(K, N, D)``, in the memory order ``(K, D, N)``.
    """

    def __init__(self, embedding: FeatureEmbedding, stacks: _Stacks, *, shared: bool) -> None:
        self._embedding = embedding
        self._scale = stacks[embedding.scaling.weight]
        self._parts = [_part(module, stacks, shared=shared) for module in embedding.parts]
        self._widths = [_width(module) for module in embedding.parts]
        self._out = torch.empty(0)  # (K, D, N)

    @staticmethod
    def supports(embedding: FeatureEmbedding, stacks: _Stacks) -> bool:
        """Return whether embeddings like this one consist of what this class differentiates."""
        return (
            type(embedding) is FeatureEmbedding
            and type(embedding.scaling) is FeatureScaling
            and all(_is_supported(module) for module in embedding.parts)
            and all(parameter in stacks for parameter in embedding.parameters())
            and all("forward" not in vars(module) for module in embedding.modules())
            and all(module._compiled_call_impl is None for module in embedding.modules())
        )

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Return the inputs of the MLPs; the next call overwrites them."""
        shape = (*self._scale.shape, x.shape[-2])
        if self._out.shape != shape:
            self._out = self._scale.new_empty(shape)
        columns = (
            x.index_select(-1, self._embedding.get_buffer(f"columns_{index}"))
            for index in range(len(self._parts))
        )
        scales, outs = (torch.split(one, self._widths, 1) for one in (self._scale, self._out))
        for part, own, scale, out in zip(self._parts, columns, scales, outs, strict=True):
            part.forward(own, scale, out)
        return self._out.mT

    @torch.no_grad()
    def backward(self, grad: Tensor) -> None:
        """Set ``.grad`` of every stack, given the gradient of the latest output."""
        each = torch.split(grad.mT, self._widths, 1)
        found = [part.backward(own) for part, own in zip(self._parts, each, strict=True)]
        self._scale.grad = torch.cat(found, 1)


class _StackedPieces:
    """Piecewise linear embeddings: one product for all features and, if it is shared, networks.

    The axes of a product are ``(F, K d, T)`` and ``(F, T, N)`` for a shared input, ``(K F, d, T)``
    and ``(K F, T, N)`` else.
    """

    def __init__(
        self,
        scaling: nn.Module,
        embedding: PiecewiseLinearEmbedding,
        stacks: _Stacks,
        *,
        shared: bool,
    ) -> None:
        self._scaling = scaling
        self._encode: Callable[[Tensor], Tensor] = embedding.encode
        self._weight = stacks[embedding.weight]  # (K, F, T, d)
        self._bias = stacks[embedding.bias]  # (K, F, d)
        self._shared = shared
        self._encoded = torch.empty(0)

    def forward(self, x: Tensor, scale: Tensor, out: Tensor) -> None:
        """Compute the embeddings with scaled parameters."""
        encoded = self._encode(self._scaling(x))  # (*, N, F, T)
        self._encoded = encoded = encoded.movedim(-3, -1).flatten(0, -3)
        self._factors = factors = scale.view_as(self._bias)
        weight = self._joined((self._weight * factors.unsqueeze(2)).mT)
        bias = self._joined((self._bias * factors).unsqueeze(3))
        learned = torch.baddbmm(bias, weight, encoded)
        self._view(out).copy_(self._split(learned))

    def backward(self, grad: Tensor) -> Tensor:
        """Differentiate by the scaled parameters, then by parameters and factors."""
        split = self._view(grad)  # (K, F, d, N)
        by_weight = self._split(torch.bmm(self._joined(split), self._encoded.mT)).mT
        by_bias = split.sum(3)
        factors = self._factors
        weight, bias = self._weight, self._bias
        weight.grad = torch.mul(by_weight, factors.unsqueeze(2), out=torch.empty_like(weight))
        bias.grad = by_bias * factors
        return ((weight * by_weight).sum(2) + bias * by_bias).flatten(1)

    def _view(self, rows: Tensor) -> Tensor:
        """Return ``(K, F d, N)`` as ``(K, F, d, N)``."""
        return rows.view(*self._bias.shape, -1)

    def _joined(self, each: Tensor) -> Tensor:
        """Return ``(K, F, d, *)`` as a factor of the product."""
        return each.transpose(0, 1).flatten(1, 2) if self._shared else each.flatten(0, 1)

    def _split(self, product: Tensor) -> Tensor:
        """Return a product as ``(K, F, d, *)``."""
        count, features, size = self._bias.shape
        if self._shared:
            return product.view(features, count, size, -1).transpose(0, 1)
        return product.view(count, features, size, -1)


class _StackedCategories:
    """Learned vectors of categories; the tables of all networks are one table."""

    def __init__(self, embedding: CategoryEmbedding, stacks: _Stacks) -> None:
        self._embedding = embedding
        self._weight = stacks[embedding.weight]  # (K, C, d)
        self._rows = self._is_known = self._vectors = self._scale = torch.empty(0)

    def forward(self, x: Tensor, scale: Tensor, out: Tensor) -> None:
        """Look the vectors up, and scale them."""
        count, size, _ = self._weight.shape
        rows, is_known = self._embedding.find_rows(x)
        starts = torch.arange(0, count * size, size).view(-1, 1, 1)
        self._rows = rows + starts  # (K, N, F)
        self._is_known = is_known.unsqueeze(-1)
        vectors = F.embedding(self._rows, self._weight.flatten(0, 1)) * self._is_known
        self._vectors = vectors.flatten(2).mT  # (K, D, N)
        self._scale = scale.unsqueeze(2)
        torch.mul(self._vectors, self._scale, out=out)

    def backward(self, grad: Tensor) -> Tensor:
        """Add the gradients of the examples of each category."""
        by_vector = (grad * self._scale).mT.reshape(*self._rows.shape, -1)
        found: Tensor = torch.ops.aten.embedding_dense_backward(
            by_vector * self._is_known,
            self._rows,
            self._weight[..., 0].numel(),
            -1,
            scale_grad_by_freq=False,
        )
        self._weight.grad = found.view_as(self._weight)
        return (grad * self._vectors).sum(2)


class _StackedConstants:
    """Columns without parameters, which are the same for all networks that share the input."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._columns = torch.empty(0)

    def forward(self, x: Tensor, scale: Tensor, out: Tensor) -> None:
        """Scale the columns."""
        columns: Tensor = self._module(x)
        self._columns = columns.mT
        torch.mul(self._columns, scale.unsqueeze(2), out=out)

    def backward(self, grad: Tensor) -> Tensor:
        """Return the gradient of the factors."""
        return (grad * self._columns).sum(2)


def _is_pieces(module: nn.Module) -> bool:
    return type(module) is nn.Sequential and [type(each) for each in module] == [
        RobustScaling,
        PiecewiseLinearEmbedding,
    ]


def _is_supported(module: nn.Module) -> bool:
    return type(module) in (CategoryEmbedding, OneHot, RobustScaling) or _is_pieces(module)


def _part(module: nn.Module, stacks: _Stacks, *, shared: bool) -> _Part:
    if isinstance(module, nn.Sequential):
        scaling, embedding = module
        assert isinstance(embedding, PiecewiseLinearEmbedding), "checked by supports"
        return _StackedPieces(scaling, embedding, stacks, shared=shared)
    if isinstance(module, CategoryEmbedding):
        return _StackedCategories(module, stacks)
    return _StackedConstants(module)


def _width(module: nn.Module) -> int:
    """Return the number of outputs of some columns."""
    last = module[1] if isinstance(module, nn.Sequential) else module
    if isinstance(last, RobustScaling):
        return len(last.center)
    assert isinstance(last, PiecewiseLinearEmbedding | CategoryEmbedding | OneHot)
    return last.out_features
