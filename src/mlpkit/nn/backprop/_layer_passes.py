"""Forward and backward pass through the layers of an MLP; the matrix products are pluggable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import torch
from torch import Tensor, nn

from mlpkit.nn._hidden_layer import HiddenLayer
from mlpkit.nn._mlp import MLP

__all__ = ["AutogradModules", "LayerPasses", "Pass", "Products", "ProductsOf", "dropout_by_torch"]


class Products(Protocol):
    """Forward and backward pass of a linear layer, without autograd's graph."""

    def forward(self, x: Tensor, *, autocast_dtype: torch.dtype | None, fuse_relu: bool) -> Tensor:
        """Return Z = x W^T + b, or ReLU of Z."""
        ...

    def backward(self, grad: Tensor) -> Tensor | None:
        """Set the gradients of the parameters, and return that of the input or None."""
        ...


class Pass(Protocol):
    """Forward and backward pass of a function of one tensor."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the output, without an autograd graph."""
        ...

    def backward(self, grad: Tensor) -> Tensor:
        """Return the gradient of the latest input, given that of the output."""
        ...


ProductsOf: TypeAlias = Callable[[nn.Linear, bool], Products]
DropoutOf: TypeAlias = Callable[[nn.Dropout, bool], Pass]
ActivationOf: TypeAlias = Callable[[Sequence[nn.Module]], Pass]


def dropout_by_torch(dropout: nn.Dropout, is_differentiated: bool) -> Pass:  # noqa: FBT001 - positional by its type
    """Return the passes of a dropout layer, which draw from torch's global generator."""
    return AutogradModules(dropout) if is_differentiated else _ForwardOnly(dropout)


def _by_autograd(modules: Sequence[nn.Module]) -> Pass:
    return AutogradModules(*modules)


class LayerPasses:
    """Forward and backward pass from the input of the first layer to the output of the network.

    Args:
        network: The network, in training mode.
        products_of: Returns the :class:`Products` of a linear layer, given the layer and whether
            the gradient of its input is needed.
        dropout_of: Returns the passes of a dropout layer with a probability above 0, given the
            layer and whether the gradient of its input is needed.
        activation_of: Returns the passes of the norm, if there is one, and the activation.
        has_input_gradient: Whether :meth:`backward` returns the gradient of the inputs.
    """

    def __init__(
        self,
        network: MLP,
        products_of: ProductsOf,
        *,
        dropout_of: DropoutOf = dropout_by_torch,
        activation_of: ActivationOf = _by_autograd,
        has_input_gradient: bool = False,
    ) -> None:
        self._layers = []
        for index, layer in enumerate(network.layers):
            inner = index > 0 or has_input_gradient
            dropout = dropout_of(layer.dropout, inner) if layer.dropout.p > 0 else None
            products = products_of(layer.linear, inner)
            self._layers.append(_Layer(layer, products, dropout, activation_of))
        inner = bool(self._layers) or has_input_gradient
        last = network.head_dropout
        self._head_dropout = dropout_of(last, inner) if last.p > 0 else None
        head = network.head
        self._head = None if head is None else products_of(head, inner)
        output = network.output_activation
        self._output = None if output is None else AutogradModules(output)

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

    def backward(self, grad: Tensor) -> Tensor | None:
        """Set ``.grad`` of every parameter, given the gradient of the latest output.

        Returns:
            The gradient of the inputs; None without ``has_input_gradient``.
        """
        if self._output is not None:
            grad = self._output.backward(grad)
        if self._head is not None:
            features_grad = self._head.backward(grad)
            if features_grad is None:
                return None
            grad = features_grad
            if self._head_dropout is not None:
                grad = self._head_dropout.backward(grad)
        for layer in reversed(self._layers):
            input_grad = layer.backward(grad)
            if input_grad is None:
                return None
            grad = input_grad
        return grad


class _Layer:
    """One hidden layer: dropout, linear, norm, activation, skip."""

    def __init__(
        self,
        layer: HiddenLayer,
        products: Products,
        dropout: Pass | None,
        activation_of: ActivationOf,
    ) -> None:
        self._dropout = dropout
        self._products = products
        self._is_relu = layer.norm is None and type(layer.activation) is nn.ReLU
        steps = [step for step in (layer.norm, layer.activation) if step is not None]
        self._activation = None if self._is_relu else activation_of(steps)
        self._skip = layer.skip
        self._h: Tensor | None = None

    def forward(self, h: Tensor, autocast_dtype: torch.dtype | None) -> Tensor:
        """Return the output of the layer."""
        x = h if self._dropout is None else self._dropout.forward(h)
        z = self._products.forward(x, autocast_dtype=autocast_dtype, fuse_relu=self._is_relu)
        self._h = z if self._activation is None else self._activation.forward(z)
        return self._h + h if self._skip else self._h

    def backward(self, grad: Tensor) -> Tensor | None:
        """Return the gradient of the layer's input; None for the first layer."""
        assert self._h is not None, "call forward before backward"
        if self._activation is not None:
            z_grad = self._activation.backward(grad.to(self._h.dtype))
        else:
            z_grad = torch.ops.aten.threshold_backward(grad.to(self._h.dtype), self._h, 0)
        x_grad = self._products.backward(z_grad)
        if x_grad is None:
            return None
        input_grad = x_grad if self._dropout is None else self._dropout.backward(x_grad)
        return grad + input_grad if self._skip else input_grad


class AutogradModules:
    """A sequence of modules that autograd differentiates, with a graph that covers only them."""

    def __init__(self, *modules: nn.Module) -> None:
        self._modules = modules
        self._leaf: Tensor | None = None
        self._out: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the last module, detached."""
        self._leaf = x.detach().requires_grad_()
        with torch.enable_grad():
            out = self._leaf
            for module in self._modules:
                out = module(out)
        self._out = out
        return out.detach()

    def backward(self, grad: Tensor) -> Tensor:
        """Return the gradient of the input, and accumulate those of the parameters."""
        leaf, out = self._leaf, self._out
        assert leaf is not None, "call forward before backward"
        assert out is not None, "call forward before backward"
        self._leaf = self._out = None
        if out.requires_grad:
            # backward(out, grad) would import sympy to compare the shapes; the bits are equal.
            with torch.enable_grad():
                total = (out * grad.to(out.dtype)).sum()
            torch.autograd.backward(total)
        # A step function, for example, gives no gradient.
        return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


class _ForwardOnly:
    """A module whose input needs no gradient."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the module."""
        out: Tensor = self._module(x)
        return out

    def backward(self, grad: Tensor) -> Tensor:  # noqa: ARG002 - of the protocol
        """Raise: the gradient of the input is not computed."""
        raise AssertionError("the input has no gradient")
