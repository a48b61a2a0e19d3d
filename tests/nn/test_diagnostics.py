"""activation_statistics against derivatives in closed form and loops over units."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mlpkit.nn import (
    MLP,
    ActivationConfig,
    ActivationName,
    LayerStatistics,
    TabularMLP,
    activation_statistics,
)

Slopes = Callable[[Tensor], Tensor]
SLOPES: dict[ActivationName, Slopes] = {
    "identity": torch.ones_like,
    "relu": lambda z: (z > 0).double(),
    "sigmoid": lambda z: z.sigmoid() * (1 - z.sigmoid()),
    "tanh": lambda z: 1 - z.tanh() ** 2,
    "softplus": torch.sigmoid,
    "prelu": lambda z: torch.where(z > 0, 1.0, 0.25).double(),
}


def first(model: MLP, x: Tensor, threshold: float = 0.05) -> LayerStatistics:
    """The row of the first layer."""
    return activation_statistics(model, x, threshold=threshold).layers[0]


@pytest.mark.parametrize("activation", SLOPES)
@pytest.mark.parametrize("shape", [(6,), (40, 6), (5, 8, 6), (2, 2, 10, 6)])
def test_rows_agree_with_the_equations(activation: ActivationName, shape: tuple[int, ...]) -> None:
    """Mean, std, second moment, saturation, dead units and gain, for inputs of every rank."""
    model = MLP(6, (30,), 2, activation=activation, dtype=torch.float64)
    x = 2 * torch.randn(shape, dtype=torch.float64)
    layer = model.layers[0]
    with torch.no_grad():
        z = layer.linear(x).reshape(-1, 30)
        h = layer(x).reshape(-1, 30)
    slopes = SLOPES[activation](z)
    row = first(model, x, threshold=0.3)
    values, count = h.flatten().tolist(), h.numel()
    mean = math.fsum(values) / count
    second = math.fsum(value**2 for value in values) / count
    assert row.name == "layers.0"
    assert row.mean == pytest.approx(mean, rel=1e-9)
    assert row.second_moment == pytest.approx(second, rel=1e-9)
    assert row.std == pytest.approx(math.sqrt(second - mean**2), rel=1e-6)
    assert row.off_center == pytest.approx(abs(mean) / math.sqrt(second), rel=1e-9)
    assert row.saturated == pytest.approx((slopes.abs() < 0.3).double().mean().item())
    assert row.dead == pytest.approx((slopes == 0).all(dim=0).double().mean().item())
    assert row.gradient_gain == pytest.approx(slopes.square().mean().sqrt().item(), rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_the_weaknesses_of_a_sigmoid(seed: int) -> None:
    """Its mean is not 0, and it shrinks gradients; tanh has mean 0, and half of a ReLU is off."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(500, 50, generator=generator)
    names: tuple[ActivationName, ...] = ("sigmoid", "tanh", "relu")
    rows = {
        name: activation_statistics(
            MLP(50, (100, 100, 100), 10, activation=name, generator=generator), x
        ).layers
        for name in names
    }
    for sigmoid, tanh, relu in zip(*rows.values(), strict=True):
        assert sigmoid.mean == pytest.approx(0.5, abs=0.05)
        assert sigmoid.off_center > 0.9
        assert tanh.off_center < 0.05
        assert sigmoid.gradient_gain <= 0.25
        assert tanh.gradient_gain > 2 * sigmoid.gradient_gain
        assert relu.gradient_gain == pytest.approx(math.sqrt(0.5), rel=0.05)


def test_large_weights_saturate_a_sigmoid_and_a_tanh_but_not_a_relu() -> None:
    """Saturation grows with the scale of the weights; half of a ReLU is off at any scale."""
    names: tuple[ActivationName, ...] = ("sigmoid", "tanh")
    x = torch.randn(200, 50)
    for name in names:
        model = MLP(50, (100,), 10, activation=name)
        small, large = first(model, x), first(model, 20 * x)
        assert small.saturated < 0.1
        assert large.saturated > 0.7
        assert large.gradient_gain < small.gradient_gain
    relu = MLP(50, (100,), 10)
    assert first(relu, x).saturated == pytest.approx(first(relu, 20 * x).saturated)


def test_dead_units_are_counted() -> None:
    """Three of ten ReLUs have no positive pre-activation."""
    model = MLP(6, (10,), 2)
    model.layers[0].linear.bias.data[:3] = -1e6
    row = first(model, torch.randn(50, 6))
    assert row.dead == pytest.approx(0.3)
    assert row.saturated > 0.3


def test_maxout_has_one_maximum_for_each_unit() -> None:
    """The largest piece has derivative 1, so no unit saturates for any number of pieces."""
    model = MLP(6, (30,), 2, activation=ActivationConfig("maxout", num_pieces=5))
    row = first(model, torch.randn(50, 6))
    assert (row.saturated, row.dead) == (0.0, 0.0)
    assert row.gradient_gain == pytest.approx(1.0)


def test_gated_units_sum_over_both_halves() -> None:
    """The value and the gate of a unit are not adjacent, but their derivatives are added."""
    model = MLP(6, (7,), 2, activation="reglu", dtype=torch.float64)
    x = torch.randn(50, 6, dtype=torch.float64)
    with torch.no_grad():
        value, gate = model.layers[0].linear(x).chunk(2, dim=-1)
    by_value, by_gate = gate.clamp(min=0), value * (gate > 0)
    strength = by_value.abs() + by_gate.abs()
    row = first(model, x, threshold=0.4)
    assert row.saturated == pytest.approx((strength < 0.4).double().mean().item())
    energy = by_value.square() + by_gate.square()
    assert row.gradient_gain == pytest.approx(energy.mean().sqrt().item())


class Step(nn.Module):
    """A custom activation without a derivative, which works in place."""

    def forward(self, x: Tensor) -> Tensor:
        """1 where positive, else 0."""
        return (x > 0).to(x)


class Strided(nn.Module):
    """A custom activation whose unit u has the inputs u and u + m, and which works in place."""

    expansion = 2

    def forward(self, x: Tensor) -> Tensor:
        """The sum of two, doubled in place."""
        half = x.shape[-1] // 2
        doubled: Tensor = x.mul_(2)
        return doubled[..., :half] + 3 * doubled[..., half:]


def test_custom_activations() -> None:
    """Derivatives are computed by autograd, so any activation works."""
    x = torch.randn(50, 6)
    step = first(MLP(6, (10,), 2, activation=Step(), init="torch"), x)
    assert (step.saturated, step.dead, step.gradient_gain) == (1.0, 1.0, 0.0)
    strided = first(MLP(6, (10,), 2, activation=Strided(), init="torch"), x)
    assert strided.gradient_gain == pytest.approx(math.hypot(2.0, 6.0))
    assert (strided.saturated, strided.dead) == (0.0, 0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_units_are_told_apart_in_low_precision_too(dtype: torch.dtype) -> None:
    """bfloat16 cannot represent all integers above 256."""
    model = MLP(6, (1000,), 2, activation="maxout", dtype=dtype)
    row = first(model, torch.randn(5, 6, dtype=dtype))
    assert row.saturated == 0.0
    assert row.gradient_gain == pytest.approx(1.0, rel=0.01)


def test_values_are_measured_before_the_skip() -> None:
    """The input of the second layer includes the skip connection of the first."""
    model = MLP(6, (8, 8), 2, residual=True, dtype=torch.float64)
    x = torch.randn(20, 6, dtype=torch.float64)
    with torch.no_grad():
        h = model.layers[0](x)
        branch = model.layers[1](h) - h
    row = activation_statistics(model, x).layers[1]
    assert row.mean == pytest.approx(branch.mean().item())


def test_measuring_changes_nothing() -> None:
    """No mode, running statistic, gradient or random state changes."""
    model = MLP(6, (5, 5), 2, norm="batch", dropout=0.5, activation="prelu")
    model.layers[1].eval()
    modes = [module.training for module in model.modules()]
    state = copy.deepcopy(model.state_dict())
    random = torch.get_rng_state()
    x = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    one, two = activation_statistics(model, x), activation_statistics(model, x)
    assert one == two
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in model.parameters())
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[key])


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_works_without_gradients(mode: type[torch.no_grad]) -> None:
    """It works inside no_grad and inference_mode."""
    model = MLP(6, (5,), 2, activation="tanh")
    x = torch.randn(20, 6)
    expected = activation_statistics(model, x)
    with mode():
        assert activation_statistics(model, x.clone()) == expected


def test_text_is_a_table() -> None:
    """The names of the columns, then one line for each layer."""
    statistics = activation_statistics(MLP(6, (5, 4), 2, activation="tanh"), torch.randn(9, 6))
    lines = str(statistics).splitlines()
    assert lines[0].split() == [
        "layer",
        "activation",
        "mean",
        "std",
        "second_moment",
        "off_center",
        "saturated",
        "dead",
        "gradient_gain",
    ]
    assert [line.split()[:2] for line in lines[1:]] == [
        ["layers.0", "Tanh()"],
        ["layers.1", "Tanh()"],
    ]
    assert (statistics.num_examples, statistics.threshold) == (9, 0.05)
    assert activation_statistics(MLP(6, (), 2), torch.randn(9, 6)).layers == ()


@pytest.mark.parametrize(
    ("model", "x", "threshold", "kind", "message"),
    [
        (nn.Linear(6, 2), torch.zeros(3, 6), 0.05, TypeError, "model must be an MLP, got Linear("),
        (
            MLP(6, (5,), 2),
            torch.zeros(0, 6),
            0.05,
            ValueError,
            "x must be a batch of at least one example, got (0, 6)",
        ),
        (
            MLP(6, (5,), 2),
            torch.zeros(3, 5),
            0.05,
            ValueError,
            "x must be a tensor with 6 features in its last axis, got (3, 5)",
        ),
        (MLP(6, (5,), 2), [1.0], 0.05, TypeError, "x must be a floating tensor, got [1.0]"),
        (
            TabularMLP.for_data(torch.rand(5, 6), None, (5,), 2),
            [1.0],
            0.05,
            TypeError,
            "x must be a floating tensor, got [1.0]",
        ),
        (
            MLP(6, (5,), 2),
            torch.zeros(3, 6),
            0.0,
            ValueError,
            "threshold must be a finite number greater than 0, got 0.0",
        ),
    ],
)
def test_bad_arguments(
    model: object, x: object, threshold: float, kind: type[Exception], message: str
) -> None:
    """Each has one error message."""
    untyped: Callable[..., object] = activation_statistics
    with pytest.raises(kind, match=f"^{re.escape(message)}"):
        untyped(model, x, threshold=threshold)
