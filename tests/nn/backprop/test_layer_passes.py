"""LayerPasses with products that autograd differentiates."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mlpkit.nn import MLP
from mlpkit.nn.backprop._layer_passes import LayerPasses


class AutogradProducts:
    """The products of a linear layer, computed and differentiated by torch."""

    def __init__(self, linear: nn.Linear, has_input_gradient: bool) -> None:
        self.linear = linear
        self.has_input_gradient = has_input_gradient
        self.leaf = self.out = torch.empty(0)

    def forward(self, x: Tensor, *, autocast_dtype: torch.dtype | None, fuse_relu: bool) -> Tensor:
        assert autocast_dtype is None
        self.leaf = x.detach().requires_grad_()
        with torch.enable_grad():
            self.out = self.linear(self.leaf)
        z = self.out.detach()
        return z.relu() if fuse_relu else z

    def backward(self, grad: Tensor) -> Tensor | None:
        torch.autograd.backward(self.out, grad)
        return self.leaf.grad if self.has_input_gradient else None


@pytest.mark.parametrize("hidden", [(), (6,), (6, 6, 6)])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("norm", [None, "layer"])
def test_gradients_equal_those_of_autograd(
    hidden: tuple[int, ...], activation: str, norm: str | None
) -> None:
    model = MLP(6, hidden, 3, activation=activation, residual=True, norm=norm)  # type: ignore[arg-type]  # names
    made: list[AutogradProducts] = []

    def products_of(linear: nn.Linear, inner: bool) -> AutogradProducts:
        made.append(AutogradProducts(linear, inner))
        return made[-1]

    passes = LayerPasses(model, products_of)
    assert [one.has_input_gradient for one in made] == [False, *[True] * len(hidden)]
    x, grad = torch.randn(5, 6), torch.randn(5, 3)
    output = model(x)
    wanted = torch.autograd.grad(output, list(model.parameters()), grad)
    with torch.no_grad():
        torch.testing.assert_close(passes.forward(x, None), output)
        passes.backward(grad)
    for parameter, gradient in zip(model.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
