"""Passes of dropout and activations against torch's functions under autograd."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlpkit.nn.backprop._layer_passes import AutogradModules
from mlpkit.nn.backprop._stacked_passes import MishPass, SELUPass, StackedDropout, activation_pass

K = 3
SPECIAL = torch.tensor(
    [
        *(-1e30, -1e14, -1e4, -200.0, -50.0, -30.0, -1e-6, -1e-30, 0.0),
        *(1e-30, 1e-6, 19.0, 21.0, 100.0, 1e4, 1e14, 1e30),
    ]
)


@pytest.mark.parametrize("module", [nn.SELU(), nn.Mish()])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_activation_has_the_values_and_the_derivative_of_autograd(
    module: nn.Module, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    x = torch.cat([SPECIAL, 3 * torch.randn(7 * K * 8 - len(SPECIAL))]).to(dtype)
    x = x.view(K, 8, 7).mT
    leaf = x.clone().requires_grad_()
    wanted = module(leaf)
    grad = torch.randn_like(wanted)
    torch.autograd.backward(wanted, grad)
    passes = activation_pass([module])
    assert isinstance(passes, SELUPass | MishPass)
    before = x.clone()
    torch.testing.assert_close(passes.forward(x), wanted.detach())
    torch.testing.assert_close(passes.backward(grad), leaf.grad)
    assert torch.equal(x, before)
    extreme = SPECIAL.to(dtype, copy=True).requires_grad_()
    torch.autograd.backward(module(extreme).sum())
    passes.forward(extreme.detach())
    slopes = passes.backward(torch.ones_like(extreme))
    torch.testing.assert_close(slopes, extreme.grad, rtol=1e-5, atol=0)


@pytest.mark.parametrize(("module", "slope"), [(nn.SELU(), 1.0507010), (nn.Mish(), 1.0)])
def test_nan_stays_nan_and_infinity_has_the_slope_of_large_inputs(
    module: nn.Module, slope: float
) -> None:
    passes = activation_pass([module])
    assert passes.forward(torch.tensor([torch.nan])).isnan().all()
    assert passes.forward(torch.tensor([torch.inf])).isposinf().all()
    torch.testing.assert_close(passes.backward(torch.ones(1)), torch.tensor([slope]))


def test_every_other_activation_is_differentiated_by_autograd() -> None:
    class Own(nn.Mish):
        pass

    for modules in ([nn.Tanh()], [nn.LayerNorm(3), nn.SELU()], [Own()]):
        assert isinstance(activation_pass(modules), AutogradModules)


@pytest.mark.parametrize("p", [0.15, 0.5, 1.0])
@pytest.mark.parametrize("shared", [True, False])
def test_dropout_of_each_network_is_that_of_torch(p: float, *, shared: bool) -> None:
    generators = [torch.Generator().manual_seed(k) for k in range(K)]
    dropout = StackedDropout(p, generators)
    global_state = torch.get_rng_state()
    rounds: list[tuple[Tensor, Tensor, Tensor]] = []
    for rows in (9, 4):  # a second draw, of a short batch
        x = torch.randn(rows, 5) if shared else torch.randn(K, 5, rows).mT
        torch.set_rng_state(global_state)
        found = dropout.forward(x)
        assert torch.equal(torch.get_rng_state(), global_state)
        rounds.append((x, found, dropout.backward(torch.ones(K, rows, 5))))
    for k in range(K):
        torch.manual_seed(k)
        for x, found, slope in rounds:
            leaf = (x if shared else x[k]).clone().contiguous().requires_grad_()
            wanted = F.dropout(leaf, p)
            torch.autograd.backward(wanted.sum())
            torch.testing.assert_close(found[k], wanted.detach())
            torch.testing.assert_close(slope[k], leaf.grad)


@pytest.mark.parametrize("shared", [True, False])
def test_with_one_generator_all_networks_have_its_masks(*, shared: bool) -> None:
    dropout = StackedDropout(0.3, [torch.Generator().manual_seed(0)])
    of_each = StackedDropout(0.3, [torch.Generator().manual_seed(0) for _ in range(K)])
    for rows in (9, 4):
        x = torch.randn(rows, 5) if shared else torch.randn(K, 5, rows).mT
        grad = torch.randn_like(x)
        found, slope = dropout.forward(x), dropout.backward(grad)
        assert found.shape == slope.shape == x.shape
        assert torch.equal(found.expand(K, rows, 5), of_each.forward(x))
        assert torch.equal(slope.expand(K, rows, 5), of_each.backward(grad))
