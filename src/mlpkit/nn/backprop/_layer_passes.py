"""Forward and backward pass through the layers of an MLP, whatever computes their products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

import torch
from torch import Tensor, nn

from mlpkit.nn._hidden_layer import HiddenLayer
from mlpkit.nn._mlp import MLP

__all__ = ["LayerPasses", "Products", "ProductsOf"]


class Products(Protocol):
    """What a linear layer computes in a training step, without a graph."""

    def forward(self, x: Tensor, *, autocast_dtype: torch.dtype | None, fuse_relu: bool) -> Tensor:
        """Return Z, or ReLU of it."""
        ...

    def backward(self, grad: Tensor) -> Tensor | None:
        """Set the gradients of the parameters, and return that of the input, if one is needed."""
        ...


ProductsOf: TypeAlias = Callable[[nn.Linear, bool], Products]


class LayerPasses:
    """Both passes from what enters the first layer to what leaves the network.

    Args:
        network: The network, in training mode.
        products_of: Makes the products of a linear layer, given the layer and whether something
            before it learns.
    """

    def __init__(self, network: MLP, products_of: ProductsOf) -> None:
        self._layers = [
            _Layer(layer, products_of(layer.linear, index > 0), is_first=index == 0)
            for index, layer in enumerate(network.layers)
        ]
        dropout = network.head_dropout
        self._head_dropout = _AutogradModules(dropout) if dropout.p > 0 else None
        head = network.head
        self._head = None if head is None else products_of(head, bool(self._layers))
        last = network.output_activation
        self._output = None if last is None else _AutogradModules(last)

    def forward(self, h: Tensor, autocast_dtype: torch.dtype | None) -> Tensor:
        """Return the output of the network."""
        for layer in self._layers:
            h = layer.forward(h, autocast_dtype)
        if self._head is not None:
            x = h if self._head_dropout is None else self._head_dropout.forward(h)
            h = self._head.forward(x, autocast_dtype=autocast_dtype, fuse_relu=False)
        if self._output is not None:
            h = self._output.forward(h)
        return h

    def backward(self, grad: Tensor) -> None:
        """Set the gradient of every parameter, given that of the latest output."""
        if self._output is not None:
            grad = self._output.backward(grad)
        if self._head is not None:
            of_features = self._head.backward(grad)
            if of_features is None:
                return
            grad = of_features
            if self._head_dropout is not None:
                grad = self._head_dropout.backward(grad)
        for layer in reversed(self._layers):
            of_input = layer.backward(grad)
            if of_input is None:
                return
            grad = of_input


class _Layer:
    """One hidden layer: dropout, linear, norm, activation, skip."""

    def __init__(self, layer: HiddenLayer, products: Products, *, is_first: bool) -> None:
        dropout = layer.dropout if layer.dropout.p > 0 else None
        # No gradient passes the inputs of the network, so autograd need not see their dropout.
        self._input_dropout = dropout if is_first else None
        self._dropout = None if is_first or dropout is None else _AutogradModules(dropout)
        self._products = products
        self._is_relu = layer.norm is None and type(layer.activation) is nn.ReLU
        steps = [step for step in (layer.norm, layer.activation) if step is not None]
        self._activation = None if self._is_relu else _AutogradModules(*steps)
        self._skip = layer.skip
        self._h: Tensor | None = None

    def forward(self, h: Tensor, autocast_dtype: torch.dtype | None) -> Tensor:
        """Return what leaves the layer."""
        x = h if self._input_dropout is None else self._input_dropout(h)
        x = x if self._dropout is None else self._dropout.forward(x)
        z = self._products.forward(x, autocast_dtype=autocast_dtype, fuse_relu=self._is_relu)
        self._h = z if self._activation is None else self._activation.forward(z)
        return self._h + h if self._skip else self._h

    def backward(self, grad: Tensor) -> Tensor | None:
        """Return the gradient of what entered the layer; None for the inputs of the network."""
        assert self._h is not None, "backward follows forward"
        if self._activation is not None:
            of_z = self._activation.backward(grad.to(self._h.dtype))
        else:
            of_z = torch.ops.aten.threshold_backward(grad.to(self._h.dtype), self._h, 0)
        of_x = self._products.backward(of_z)
        if of_x is None:
            return None
        of_input = of_x if self._dropout is None else self._dropout.backward(of_x)
        return grad + of_input if self._skip else of_input


class _AutogradModules:
    """Modules that autograd differentiates, by themselves."""

    def __init__(self, *modules: nn.Module) -> None:
        self._modules = modules
        self._leaf: Tensor | None = None
        self._out: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return what leaves the modules."""
        self._leaf = x.detach().requires_grad_()
        with torch.enable_grad():
            out = self._leaf
            for module in self._modules:
                out = module(out)
        self._out = out
        return out.detach()

    def backward(self, grad: Tensor) -> Tensor:
        """Return the gradient of what entered, and add that of the modules' parameters."""
        leaf, out = self._leaf, self._out
        assert leaf is not None, "backward follows forward"
        assert out is not None, "backward follows forward"
        self._leaf = self._out = None
        if out.requires_grad:
            torch.autograd.backward(out, grad.to(out.dtype))
        # A step function, for one, passes no gradient on.
        return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
