"""The forward pass for inference equals calling every module."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from mlpkit.nn import MLP, ActivationName, NormName


def called(model: MLP, x: Tensor) -> Tensor:
    """Return the output, computed by calling each module."""
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
    """The same bits, with dropout in eval mode and a skip."""
    model = network(activation=activation, dropout=0.5, residual=True)
    x = torch.randn(5, 6)
    with torch.no_grad():
        assert torch.equal(model(x), called(model, x))
        assert torch.equal(model(x[0]), called(model, x[0]))


@pytest.mark.parametrize("norm", [None, *get_args(NormName)])
@pytest.mark.parametrize("bias", [True, False])
def test_every_norm(norm: NormName | None, *, bias: bool) -> None:
    """Also without biases, with an output activation, and under autocast."""
    rounds_weights = norm == "rms"  # torch warns that its fused kernel takes no two types
    model = network(norm=norm, bias=bias, output_activation="tanh", input_dropout=0.3)
    x = torch.randn(5, 6)
    with torch.inference_mode():
        assert torch.equal(model(x), called(model, x))
        with torch.autocast("cpu", torch.bfloat16, enabled=not rounds_weights):
            assert torch.equal(model(x), called(model, x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_dtype_and_number_of_examples(dtype: torch.dtype) -> None:
    """One example with and without a batch axis, none, and several; the input is not changed."""
    model = network(residual=True, dtype=dtype)
    for shape in [(6,), (1, 6), (0, 6), (300, 6), (2, 3, 6)]:
        x = torch.randn(shape, dtype=dtype)
        given = x.clone()
        with torch.no_grad():
            assert torch.equal(model(x), called(model, x))
        assert torch.equal(x, given)


def test_dropout_in_training_mode_is_applied() -> None:
    """Monte Carlo dropout: only the dropout modules are in training mode."""
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


def _parametrize(model: MLP) -> None:
    nn.utils.parametrizations.weight_norm(model.layers[0].linear)
    with torch.no_grad():
        model.layers[0].linear.parametrizations.weight.original0.mul_(2.0)  # type: ignore[union-attr, operator]  # torch types it as a module


def _hold_weight_as_attribute(model: MLP) -> None:
    linear = model.layers[0].linear
    weight = linear.weight.detach()
    del linear.weight
    linear.weight = 2.0 * weight  # as pruning does


def _hold_weight_as_buffer(model: MLP) -> None:
    linear = model.layers[0].linear
    weight = linear.weight.detach()
    del linear.weight
    linear.register_buffer("weight", 2.0 * weight)


def _hold_bias_as_attribute(model: MLP) -> None:
    linear = model.layers[0].linear
    del linear.bias
    linear.bias = torch.ones(8)  # type: ignore[assignment]  # as pruning does


def _hold_bias_as_buffer(model: MLP) -> None:
    linear = model.layers[0].linear
    del linear.bias
    linear.register_buffer("bias", torch.ones(8))


def _prune(model: MLP) -> None:
    prune.random_unstructured(model.layers[0].linear, "weight", amount=0.5)  # type: ignore[no-untyped-call]  # torch's


def _replace_dropout_forward(model: MLP) -> None:
    model.layers[0].dropout.forward = torch.neg  # type: ignore[method-assign]  # what is tested


def _replace_activation(model: MLP) -> None:
    model.layers[0].activation = nn.Tanh()


def _replace_activation_by_a_function(model: MLP) -> None:
    del model.layers[0].activation
    model.layers[0].activation = torch.tanh  # type: ignore[assignment]  # what is tested


def _replace_dropout_by_a_function(model: MLP) -> None:
    del model.layers[0].dropout
    model.layers[0].dropout = torch.neg  # type: ignore[assignment]  # what is tested


def _replace_activation_forward(model: MLP) -> None:
    model.layers[0].activation.forward = torch.tanh


class _Shifted(nn.ReLU):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's word
        return super().forward(input) + 1.0


def _replace_activation_class(model: MLP) -> None:
    model.layers[0].activation.__class__ = _Shifted


def _replace_layers(model: MLP) -> None:
    model.layers = nn.ModuleList([nn.Sequential(model.layers[0])])  # type: ignore[assignment]  # what is tested


@pytest.mark.parametrize(
    "change",
    [
        _hold_weight_as_attribute,
        _hold_weight_as_buffer,
        _hold_bias_as_attribute,
        _hold_bias_as_buffer,
        _prune,
        _replace_dropout_forward,
        _replace_activation,
        _replace_activation_by_a_function,
        _replace_dropout_by_a_function,
        _replace_activation_forward,
        _replace_activation_class,
        _replace_layers,
        _replace_forward,
        _replace_layer_forward,
        _replace_preactivation,
        _replace_class,
        _replace_head,
        _parametrize,
    ],
)
def test_a_replaced_method_or_module_is_called(change: Callable[[MLP], None]) -> None:
    """The pass without gradients equals the pass with gradients, which calls every module."""
    model = network()
    x = torch.randn(5, 6)
    with torch.no_grad():
        before = model(x)
    change(model)
    expected = model(x).detach()
    assert not torch.equal(before, expected)
    with torch.no_grad():
        assert torch.equal(model(x), expected)


@pytest.mark.parametrize("norm", [None, "layer"])
def test_every_hook_is_called(norm: NormName | None) -> None:
    """Hooks on each module, and on all modules, get the same values as with gradients."""
    model = network(dropout=0.5, norm=norm)
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


@pytest.mark.parametrize("norm", [None, "layer"])
def test_tensors_that_a_hook_stores_are_not_overwritten(norm: NormName | None) -> None:
    """ReLU does not work in place if a hook has a reference to its input."""
    model = network(norm=norm)
    layer = model.layers[0]
    kept: list[Tensor] = []
    watched = layer.linear if layer.norm is None else layer.norm
    watched.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    x = torch.randn(5, 6)
    with torch.no_grad():
        model(x)
        assert torch.equal(kept[0], layer.preactivation(x))
    assert bool((kept[0] < 0).any())


def test_tensor_subclasses_are_not_changed_in_place() -> None:
    """A subclass may not support in-place operations, or may store its operands."""
    seen: list[Tensor] = []

    class Recording(Tensor):
        @classmethod
        def __torch_function__(
            cls,
            func: Callable[..., Tensor],
            types: tuple[type, ...],
            args: tuple[object, ...] = (),
            kwargs: dict[str, object] | None = None,
        ) -> Tensor:
            result = super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]  # torch's
            if func is nn.functional.linear:
                seen.append(result)
            return result  # type: ignore[no-any-return]  # of torch

    model = network()
    x = torch.randn(5, 6)
    with torch.no_grad():
        out = model(x.as_subclass(Recording))
        assert torch.equal(out.as_subclass(Tensor), called(model, x))
        z = seen[0].as_subclass(Tensor)
        assert torch.equal(z, model.layers[0].preactivation(x))


def test_changed_weights_are_used() -> None:
    """No weights are cached between passes."""
    model, other = network(), network(activation="relu")
    x = torch.randn(5, 6)
    with torch.no_grad():
        before = model(x)
        model.layers[0].linear.weight.mul_(2.0)
        assert torch.equal(model(x), called(model, x))
        assert not torch.equal(model(x), before)
        model.load_state_dict(other.state_dict())
        assert torch.equal(model(x), before)
        model.double()
        assert torch.equal(model(x.double()), called(model, x.double()))
        weights = {name: 2.0 * value for name, value in other.state_dict().items()}
        out = torch.func.functional_call(other, weights, (x,))
        other.load_state_dict(weights)
        assert torch.equal(out, called(other, x))


def test_vmap_over_weights_and_over_inputs_equals_a_loop() -> None:
    """Also without gradients, where ReLU works in place."""
    models = [network() for _ in range(3)]
    with torch.no_grad():
        for scale, model in enumerate(models, start=1):
            model.layers[0].linear.weight.mul_(scale)
        stacked = torch.func.stack_module_state(models)
        x = torch.randn(4, 6)

        def one(state: tuple[dict[str, Tensor], dict[str, Tensor]], example: Tensor) -> Tensor:
            out: Tensor = torch.func.functional_call(models[0], state, (example,))
            return out

        out = torch.vmap(one, in_dims=(0, None))(stacked, x)
        expected = torch.stack([called(model, x) for model in models])
        torch.testing.assert_close(out, expected)
        torch.testing.assert_close(torch.vmap(models[0])(x), called(models[0], x))


def test_compiled_and_copied_networks_still_work() -> None:
    """A copy has the same output, and a compiled module is called."""
    model = network()
    x = torch.randn(5, 6)
    with torch.no_grad():
        assert torch.equal(copy.deepcopy(model)(x), model(x))
        expected = model(x)
        model.layers[0].linear._compiled_call_impl = lambda x: torch.zeros(*x.shape[:-1], 8)
        assert not torch.equal(model(x), expected)
