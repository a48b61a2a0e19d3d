"""AffineProducts against torch.nn.Linear under autograd, in float64."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from mlpkit.nn.backprop import _products
from mlpkit.nn.backprop._products import AffineProducts

pytestmark = pytest.mark.usefixtures("slow_mkl")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("bit_exact", [True, False])
def test_all_results_equal_those_of_a_linear_layer(bias: bool, relu: bool, bit_exact: bool) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(130, 70, bias=bias)
    x, grad = torch.randn(40, 130), torch.randn(40, 70)
    twin = copy.deepcopy(linear).double()
    leaf = x.double().requires_grad_()
    out = twin(leaf)
    torch.autograd.backward(out, grad.double())
    products = AffineProducts(linear, has_input_gradient=True, bit_exact=bit_exact)
    with torch.no_grad():
        found = products.forward(x, autocast_dtype=None, fuse_relu=relu).clone()
        of_input = products.backward(grad)
    assert of_input is not None
    assert leaf.grad is not None
    torch.testing.assert_close(found, (out.relu() if relu else out).float().detach())
    torch.testing.assert_close(of_input, leaf.grad.float(), rtol=1e-5, atol=1e-5)
    for parameter, other in zip(linear.parameters(), twin.parameters(), strict=True):
        assert parameter.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(parameter.grad, other.grad.float(), rtol=1e-5, atol=1e-5)


def test_the_gradient_of_the_input_is_none_if_it_is_not_needed() -> None:
    products = AffineProducts(nn.Linear(3, 2), has_input_gradient=False, bit_exact=True)
    with torch.no_grad():
        products.forward(torch.ones(4, 3), autocast_dtype=None, fuse_relu=False)
        assert products.backward(torch.ones(4, 2)) is None


def test_replaced_weights_are_used_in_the_next_step() -> None:
    linear = nn.Linear(3, 2)
    products = AffineProducts(linear, has_input_gradient=True, bit_exact=True)
    with torch.no_grad():
        linear.weight.fill_(1.0)
        linear.bias.fill_(0.5)
        assert products.forward(
            torch.ones(1, 3), autocast_dtype=None, fuse_relu=False
        ).tolist() == [[3.5, 3.5]]
        linear.weight = nn.Parameter(torch.full((2, 3), 2.0))
        assert products.forward(
            torch.ones(1, 3), autocast_dtype=None, fuse_relu=False
        ).tolist() == [[6.5, 6.5]]


def test_without_onednn_the_products_are_those_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_products, "linear_by_onednn", lambda: None)
    torch.manual_seed(0)
    linear, x = nn.Linear(128, 128), torch.randn(8, 128)
    products = AffineProducts(linear, has_input_gradient=True, bit_exact=False)
    with torch.no_grad():
        assert torch.equal(products.forward(x, autocast_dtype=None, fuse_relu=False), linear(x))


@pytest.mark.parametrize("bit_exact", [True, False])
def test_relu_keeps_nan(bit_exact: bool) -> None:
    linear = nn.Linear(64, 64)
    products = AffineProducts(linear, has_input_gradient=True, bit_exact=bit_exact)
    with torch.no_grad():
        linear.bias[3] = torch.nan
        found = products.forward(torch.randn(8, 64), autocast_dtype=None, fuse_relu=True)
    assert found.isnan().any(0).nonzero().flatten().tolist() == [3]
