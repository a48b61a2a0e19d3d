"""A pass in evaluation mode without gradients: the numbers of calling every module."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from mlpkit.nn import MLP, ActivationName, NormName


def called(model: MLP, x: Tensor) -> Tensor:
    """Return the output by calling each module, as the class describes it."""
    h = x
    for layer in model.layers:
        z = layer.linear(layer.dropout(h))
        z = z if layer.norm is None else layer.norm(z)
        a = layer.activation(z)
        h = a + h if layer.skip else a
    assert model.head is not None
    out: Tensor = model.head(model.head_dropout(h))
    return out if model.output_activation is None else model.output_activation(out)


def network(**options: object) -> MLP:
    """Return a network with fixed weights in evaluation mode."""
    generator = torch.Generator().manual_seed(0)
    return MLP(6, (8, 8), 3, generator=generator, **options).eval()  # type: ignore[arg-type]  # of the tests below


@pytest.mark.parametrize("activation", sorted({*get_args(ActivationName)} - {"threshold"}))
def test_every_activation(activation: ActivationName) -> None:
    """With dropout, which does nothing here, and a skip: to the bit."""
    model = network(activation=activation, dropout=0.5, residual=True)
    x = torch.randn(5, 6)
    with torch.no_grad():
        assert torch.equal(model(x), called(model, x))
        assert torch.equal(model(x[0]), called(model, x[0]))


@pytest.mark.parametrize("norm", [None, *get_args(NormName)])
@pytest.mark.parametrize("bias", [True, False])
def test_every_norm(norm: NormName | None, *, bias: bool) -> None:
    """Also without biases, with an activation of the output, and under autocast."""
    rounds_weights = norm == "rms"  # torch warns that its fused kernel takes no two types
    model = network(norm=norm, bias=bias, output_activation="tanh", input_dropout=0.3)
    x = torch.randn(5, 6)
    with torch.inference_mode():
        assert torch.equal(model(x), called(model, x))
        with torch.autocast("cpu", torch.bfloat16, enabled=not rounds_weights):
            assert torch.equal(model(x), called(model, x))


def test_dropout_that_somebody_left_on_drops() -> None:
    """Monte Carlo dropout: modules of a network in evaluation mode that train."""
    model = network(dropout=0.5)
    x = torch.randn(64, 6)
    with torch.no_grad():
        plain = model(x)
        for on in (model.layers[1].dropout, model.head_dropout):
            on.train()
            assert not torch.equal(model(x), plain)
            on.eval()
        assert torch.equal(model(x), plain)


def _replace_forward(model: MLP) -> None:
    linear = model.layers[0].linear
    linear.forward = lambda x: torch.zeros(*x.shape[:-1], 8)  # type: ignore[assignment, method-assign]  # what is tested


def _replace_layer_forward(model: MLP) -> None:
    layer = model.layers[1]
    layer.forward = lambda x: torch.zeros_like(x)  # type: ignore[method-assign]  # what is tested


def _replace_preactivation(model: MLP) -> None:
    layer = model.layers[1]
    layer.preactivation = lambda x: torch.zeros_like(x)  # type: ignore[method-assign]  # what is tested


class _Doubled(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's word
        return 2.0 * super().forward(input)


def _replace_class(model: MLP) -> None:
    model.layers[0].linear.__class__ = _Doubled


def _replace_head(model: MLP) -> None:
    assert model.head is not None
    model.head.__class__ = _Doubled


def _parametrise(model: MLP) -> None:
    nn.utils.parametrizations.weight_norm(model.layers[0].linear)
    with torch.no_grad():
        model.layers[0].linear.parametrizations.weight.original0.mul_(2.0)  # type: ignore[union-attr, operator]  # torch types it as a module


@pytest.mark.parametrize(
    "change",
    [
        _replace_forward,
        _replace_layer_forward,
        _replace_preactivation,
        _replace_class,
        _replace_head,
        _parametrise,
    ],
)
def test_what_was_replaced_is_called(change: Callable[[MLP], None]) -> None:
    """The pass with gradients calls every module; the one without gives the same."""
    model = network()
    x = torch.randn(5, 6)
    with torch.no_grad():
        before = model(x)
    change(model)
    expected = model(x).detach()
    assert not torch.equal(before, expected)
    with torch.no_grad():
        assert torch.equal(model(x), expected)


def test_every_hook_is_called() -> None:
    """Hooks on each module, and on all modules, see what they see with gradients."""
    model = network(dropout=0.5, norm="layer")
    x = torch.randn(2, 6)
    for name, module in model.named_modules():
        if name == "layers":
            continue  # a list is never called
        seen: list[str] = []
        handle = module.register_forward_hook(
            lambda _module, _inputs, _output, name=name, seen=seen: seen.append(name)
        )
        with torch.no_grad():
            model(x)
        handle.remove()
        assert seen == [name]
    seen = []
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, _inputs, _output: seen.append(type(module).__name__)
    )
    try:
        with torch.no_grad():
            model(x)
    finally:
        handle.remove()
    assert seen.count("Dropout") == 3
    assert seen.count("Linear") == 3


def test_compiled_and_copied_networks_still_work() -> None:
    """A copy has the numbers of the original, and a module that is compiled is called."""
    model = network()
    x = torch.randn(5, 6)
    with torch.no_grad():
        assert torch.equal(copy.deepcopy(model)(x), model(x))
        expected = model(x)
        model.layers[0].linear._compiled_call_impl = lambda x: torch.zeros(*x.shape[:-1], 8)
        assert not torch.equal(model(x), expected)
