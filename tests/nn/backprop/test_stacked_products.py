"""StackedProducts against each linear layer under autograd, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mlpkit.nn.backprop import _stacked_products
from mlpkit.nn.backprop._stacked_products import StackedProducts

K, N, D, H = 3, 40, 130, 70


pytestmark = pytest.mark.usefixtures("slow_mkl")


def layers(*, bias: bool) -> list[nn.Linear]:
    torch.manual_seed(0)
    return [nn.Linear(D, H, bias=bias) for _ in range(K)]


def stacks(linears: list[nn.Linear]) -> list[nn.Parameter]:
    each = zip(*(linear.parameters() for linear in linears), strict=True)
    return [nn.Parameter(torch.stack(same).detach()) for same in each]


def assert_equals_autograd(
    products: StackedProducts, linears: list[nn.Linear], parameters: list[nn.Parameter], x: Tensor
) -> None:
    """Compare both passes with those of each layer, in float64."""
    rows = x.shape[-2]
    grad = torch.randn(K, rows, H)
    with torch.no_grad():
        found = products.forward(x, autocast_dtype=None, fuse_relu=True)
        of_input = products.backward(grad)
    for k, linear in enumerate(linears):
        leaf = (x if x.ndim == 2 else x[k]).double().requires_grad_()
        own = [parameter.detach().double().requires_grad_() for parameter in linear.parameters()]
        z = torch.nn.functional.linear(leaf, *own)
        torch.testing.assert_close(found[k], z.relu().float())
        of_leaf, *gradients = torch.autograd.grad(z, [leaf, *own], grad[k].double())
        for stack, gradient in zip(parameters, gradients, strict=True):
            assert stack.grad is not None
            assert stack.grad.is_contiguous()
            torch.testing.assert_close(stack.grad[k], gradient.float(), rtol=1e-5, atol=1e-5)
        if x.ndim == 3:
            assert of_input is not None
            torch.testing.assert_close(of_input[k], of_leaf.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_all_results_equal_those_of_each_layer(bias: bool, shared: bool) -> None:
    linears = layers(bias=bias)
    parameters = stacks(linears)
    products = StackedProducts(*parameters, shared=shared, has_input_gradient=not shared)
    for rows in (N, 7, N):  # a short batch, and memory that is used again
        x = torch.randn(rows, D) if shared else torch.randn(K, rows, D)
        assert_equals_autograd(products, linears, parameters, x)


def test_without_onednn_the_products_are_those_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_stacked_products, "linear_by_onednn", lambda: None)
    linears = layers(bias=True)
    parameters = stacks(linears)
    products = StackedProducts(*parameters, shared=True, has_input_gradient=False)
    assert_equals_autograd(products, linears, parameters, torch.randn(N, D))


@pytest.mark.parametrize("shared", [True, False])
def test_nan_stays_in_its_network(shared: bool) -> None:
    weight = nn.Parameter(torch.ones(K, H, D))
    weight.data[1, 2] = torch.nan
    products = StackedProducts(weight, shared=shared, has_input_gradient=False)
    with torch.no_grad():
        z = products.forward(torch.ones(*[K][shared:], N, D), autocast_dtype=None, fuse_relu=True)
    assert z.isnan().any(dim=1).nonzero().tolist() == [[1, 2]]
