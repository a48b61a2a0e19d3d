"""The matrix products of one linear layer of several networks in training."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mlpkit.nn.backprop._products import NARROW, linear_by_onednn

__all__ = ["StackedProducts"]


class StackedProducts:
    r"""Forward and backward pass of one linear layer of K networks, without autograd's graph.

    .. math::
        Z_k = X_k W_k^\top + b_k, \qquad
        \frac{\partial L}{\partial W_k} = G_k^\top X_k, \quad
        \frac{\partial L}{\partial b_k} = \sum_n G_{kn}, \quad
        \frac{\partial L}{\partial X_k} = G_k W_k

    The memory layout of Z and of its gradient is ``(K, features, N)``. With this layout, products
    with few outputs are fast, and if all networks have the same input, one product with the weights
    ``(K * O, I)`` computes the layer of all networks.

    Args:
        weight: The weights of all networks; they are read in each step.
        bias: The biases of all networks; None for none.
        shared: Whether all networks have the same input.
        has_input_gradient: Whether :meth:`backward` returns the gradient of X.

    Shape:
        - weight: ``(K, O, I)``; bias: ``(K, O)``.
        - X: ``(K, N, I)``, or ``(N, I)`` if it is shared; Z and G: ``(K, N, O)``.
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
        """Return Z, or ReLU of Z.

        Args:
            x: The input; it is kept for :meth:`backward`.
            autocast_dtype: Must be None; stacked products do not support autocast.
            fuse_relu: Whether to apply ReLU, in place.
        """
        assert autocast_dtype is None, "stacked products do not support autocast"
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
        """Set the gradients of the stacks, and return the gradient of the input if needed."""
        x = self._input
        assert x is not None, "call forward before backward"
        z_grad = grad.mT.contiguous()  # (K, O, N)
        weight, weight_grad = self._weight, self._weight_gradient
        if self._shared:
            torch.mm(z_grad.flatten(0, 1), x, out=weight_grad.view(-1, weight.shape[2]))
        else:
            torch.bmm(z_grad, x, out=weight_grad)
        weight.grad = weight_grad
        if self._bias is not None:
            self._bias.grad = torch.sum(z_grad, 2, out=self._bias_gradient)
        if not self._has_input_gradient:
            return None
        x_grad = self._buffer("backward", len(weight), weight.shape[2], z_grad.shape[2])
        return torch.bmm(weight.mT, z_grad, out=x_grad).mT

    def _buffer(self, use: str, *shape: int) -> Tensor:
        """Return the buffer for one result; a short batch gets the first elements of the buffer."""
        size = math.prod(shape)
        buffer = self._buffers.get(use)
        if buffer is None or len(buffer) < size:
            buffer = self._buffers[use] = torch.empty(size, dtype=self._weight.dtype)
        return buffer[:size].view(shape)
