"""The matrix products of one linear layer of many networks in training, without a graph."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mlpkit.nn.backprop._products import NARROW, linear_by_onednn

__all__ = ["StackedProducts"]


class StackedProducts:
    r"""What the linear layers of K networks compute in a training step.

    .. math::
        Z_k = X_k W_k^\top + b_k, \qquad
        \frac{\partial L}{\partial W_k} = G_k^\top X_k, \quad
        \frac{\partial L}{\partial b_k} = \sum_n G_{kn}, \quad
        \frac{\partial L}{\partial X_k} = G_k W_k

    Whatever has the features of one network lies in memory as ``(K, features, N)``: in that order
    the products of few outputs are fast, and where all networks have one input, the layers of all
    are one product with the weights below one another.

    Args:
        weight: The weights of all networks; read anew in each step.
        bias: The biases; None without.
        shared: Whether all networks have one input.
        has_input_gradient: Whether something before the layer learns.

    Shape:
        - weight: ``(K, O, I)``; bias: ``(K, O)``.
        - X: ``(K, N, I)``, or ``(N, I)`` where it is shared; Z and G: ``(K, N, O)``.
    """

    def __init__(
        self,
        weight: nn.Parameter,
        bias: nn.Parameter | None = None,
        *,
        shared: bool,
        has_input_gradient: bool,
    ) -> None:
        count, out_features, in_features = weight.shape
        self._weight = weight
        self._bias = bias
        self._shared = shared
        self._has_input_gradient = has_input_gradient
        wide = min(count * out_features, in_features) >= NARROW
        self._onednn = (
            linear_by_onednn() if shared and wide and weight.dtype == torch.float32 else None
        )
        self._weight_gradient = torch.empty_like(weight)
        self._bias_gradient = None if bias is None else torch.empty_like(bias)
        self._input: Tensor | None = None
        self._buffers: dict[str, Tensor] = {}

    def forward(self, x: Tensor, *, autocast_dtype: torch.dtype | None, fuse_relu: bool) -> Tensor:
        """Return Z, or ReLU of it.

        Args:
            x: The input; kept for :meth:`backward`.
            autocast_dtype: None: no product of a stack is of low precision.
            fuse_relu: Whether ReLU follows.
        """
        assert autocast_dtype is None, "autocast is left to autograd"
        self._input = x
        weight = self._weight
        if self._onednn is not None:
            z = self._onednn(weight.flatten(0, 1), x, None, "none", [], "").view(
                *weight.shape[:2], -1
            )
        else:
            z = self._buffer("forward", *weight.shape[:2], x.shape[-2])
            if self._shared:
                torch.mm(weight.flatten(0, 1), x.t(), out=z.view(-1, x.shape[0]))
            else:
                torch.bmm(weight, x.mT, out=z)
        if self._bias is not None:
            z += self._bias.unsqueeze(2)
        return (z.relu_() if fuse_relu else z).mT

    def backward(self, grad: Tensor) -> Tensor | None:
        """Set the gradients of the stacks, and return that of the input, where one is needed."""
        x = self._input
        assert x is not None, "backward follows forward"
        of_z = grad.mT.contiguous()  # (K, O, N)
        weight, of_weight = self._weight, self._weight_gradient
        if self._shared:
            torch.mm(of_z.flatten(0, 1), x, out=of_weight.view(-1, weight.shape[2]))
        else:
            torch.bmm(of_z, x, out=of_weight)
        weight.grad = of_weight
        if self._bias is not None:
            self._bias.grad = torch.sum(of_z, 2, out=self._bias_gradient)
        if not self._has_input_gradient:
            return None
        of_x = self._buffer("backward", len(weight), weight.shape[2], of_z.shape[2])
        return torch.bmm(weight.mT, of_z, out=of_x).mT

    def _buffer(self, use: str, *shape: int) -> Tensor:
        """Return memory for one result; the same in each step, a part of it for a short batch."""
        size = math.prod(shape)
        known = self._buffers.get(use)
        if known is None or len(known) < size:
            known = self._buffers[use] = torch.empty(size, dtype=self._weight.dtype)
        return known[:size].view(shape)
