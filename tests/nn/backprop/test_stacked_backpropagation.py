"""StackedBackpropagation against autograd for each network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from mlpkit._protocols import find_stacked_backpropagation
from mlpkit.nn import MLP, ActivationName, MLPConfig
from mlpkit.nn.backprop import StackedBackpropagation

pytestmark = pytest.mark.usefixtures("slow_mkl")

K = 3
NAMES = [name for name in get_args(ActivationName) if name not in ("threshold", "prelu", "rrelu")]
BASE = MLPConfig(in_features=70, hidden_features=(96, 80), out_features=5)


def networks(dtype: torch.dtype = torch.float32, **options: Any) -> list[MLP]:
    config = dataclasses.replace(BASE, **options)
    return [
        MLP.from_config(config, dtype=dtype, generator=torch.Generator().manual_seed(seed))
        for seed in range(K)
    ]


def stacks_of(models: list[MLP]) -> dict[nn.Parameter, nn.Parameter]:
    each = zip(*(model.parameters() for model in models), strict=True)
    return {same[0]: nn.Parameter(torch.stack(same).detach()) for same in each}


def assert_equals_each(
    models: list[MLP],
    inputs: Tensor,
    *,
    shared: bool,
    prepare: Callable[[Tensor], Tensor] | None = None,
) -> None:
    """Compare outputs and gradients with those of each network under autograd."""
    stacks = stacks_of(models)
    assert StackedBackpropagation.supports(models[0], stacks)
    passes = StackedBackpropagation(models[0], stacks, shared=shared, preprocess=prepare)
    assert passes.can_run(inputs)
    for rows in (inputs.shape[-2], 4):
        part = inputs[..., :rows, :]
        outputs = passes.forward(part).clone()
        grad = torch.randn(outputs.shape, dtype=outputs.dtype)
        passes.backward(grad)
        for k, model in enumerate(models):
            own = part if shared else part[k]
            output = model(own if prepare is None else prepare(own))
            torch.testing.assert_close(outputs[k], output, rtol=1e-5, atol=1e-5)
            wanted = torch.autograd.grad(output, list(model.parameters()), grad[k])
            for stack, gradient in zip(stacks.values(), wanted, strict=True):
                assert stack.grad is not None
                torch.testing.assert_close(stack.grad[k], gradient, rtol=1e-4, atol=1e-4)


def inputs(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shared", [True, False])
def test_every_activation_without_parameters(name: ActivationName, shared: bool) -> None:
    lead = () if shared else (K,)
    assert_equals_each(networks(activation=name), inputs(*lead, 9, 70), shared=shared)


@pytest.mark.parametrize(
    "options",
    [
        {"bias": False},
        {"residual": True, "hidden_features": (70, 70)},
        {"hidden_features": ()},
        {"out_features": None},
        {"output_activation": "tanh"},
        {"dtype": torch.float64},
    ],
    ids=str,
)
@pytest.mark.parametrize("shared", [True, False])
def test_every_supported_option(options: dict[str, Any], shared: bool) -> None:
    lead = () if shared else (K,)
    x = inputs(*lead, 9, 70, dtype=options.get("dtype", torch.float32))
    assert_equals_each(networks(**options), x, shared=shared)


@pytest.mark.parametrize("shared", [True, False])
def test_inputs_are_preprocessed_for_each_network(shared: bool) -> None:
    lead = () if shared else (K,)
    pictures = torch.randint(256, (*lead, 9, 70), dtype=torch.uint8)
    assert_equals_each(networks(), pictures, shared=shared, prepare=lambda x: x.float() / 255 - 0.5)


def test_inputs_are_flattened_as_by_the_network() -> None:
    models = networks(flatten=True)
    passes = find_stacked_backpropagation(models[0], stacks_of(models), shared=False)
    assert passes is not None
    x = inputs(K, 9, 7, 10)
    assert passes.can_run(x)
    for found, model, own in zip(passes.forward(x), models, x, strict=True):
        torch.testing.assert_close(found, model(own), rtol=1e-5, atol=1e-5)


class BatchDependent(nn.Module):
    """An activation that depends on the batch, so it cannot be stacked."""

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(dim=0)


def with_activation(model: MLP, activation: nn.Module) -> MLP:
    model.layers[0].activation = activation
    return model


UNKNOWN: dict[str, Callable[[], MLP]] = {
    "norm": lambda: networks(norm="layer")[0],
    "dropout": lambda: networks(dropout=0.1)[0],
    "input dropout": lambda: networks(input_dropout=0.1)[0],
    "learned activation": lambda: networks(activation="prelu")[0],
    "an activation of the user's": lambda: with_activation(networks()[0], BatchDependent()),
    "an activation with an axis": lambda: with_activation(
        networks(activation="glu")[0], nn.GLU(dim=1)
    ),
    "an activation that draws": lambda: with_activation(networks()[0], nn.RReLU()),
    "on another device": lambda: networks()[0].to("meta"),
    "a subclass": lambda: type("Own", (MLP,), {})(4, (5,), 3),
    "in place": lambda: with_activation(networks()[0], nn.ReLU(inplace=True)),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_unsupported_networks_are_left_to_autograd(name: str) -> None:
    model = UNKNOWN[name]()
    assert find_stacked_backpropagation(model, stacks_of([model] * K), shared=True) is None


def test_a_parameter_without_a_stack_is_left_to_autograd() -> None:
    models = networks()
    stacks = stacks_of(models)
    del stacks[models[0].layers[0].linear.bias]
    assert find_stacked_backpropagation(models[0], stacks, shared=True) is None


def test_can_run_only_if_the_result_equals_calling_the_networks() -> None:
    models = networks()
    alike = StackedBackpropagation(models[0], stacks_of(models), shared=True)
    own = StackedBackpropagation(models[0], stacks_of(models), shared=False)
    assert alike.can_run(inputs(9, 70))
    assert own.can_run(inputs(K, 9, 70))
    assert not own.can_run(inputs(K, 9, 4, 70))  # an axis more
    assert not alike.can_run(torch.empty(9, 70, device="meta"))
    assert not alike.can_run(inputs(K, 9, 70))
    assert not alike.can_run(inputs(9, 70).requires_grad_())
    with torch.autograd.set_detect_anomaly(mode=True):
        assert not alike.can_run(inputs(9, 70))
    with torch.autocast("cpu", torch.bfloat16):
        assert not alike.can_run(inputs(9, 70))
    hook = torch.nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        assert not alike.can_run(inputs(9, 70))
    finally:
        hook.remove()
    models[0].eval()
    assert not alike.can_run(inputs(9, 70))


def test_inputs_of_another_width_are_refused() -> None:
    models = networks()
    passes = StackedBackpropagation(models[0], stacks_of(models), shared=False)
    with pytest.raises(ValueError, match="70 features"):
        passes.forward(inputs(K, 9, 71))
