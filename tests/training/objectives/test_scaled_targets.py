"""Scaled losses against the definition, and what the scale is good for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mlpkit.data import Batch
from mlpkit.training import (
    CrossEntropy,
    GaussianNLL,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
    Mixup,
    Objective,
    OutputObjective,
    ScaledTargets,
)

BASES = [MeanSquaredError(), MeanAbsoluteError(), Huber(delta=0.7)]
Base = MeanSquaredError | MeanAbsoluteError | Huber


@pytest.mark.parametrize("base", BASES, ids=str)
@pytest.mark.parametrize(
    ("shape", "scale"),
    [
        ((5,), 3.0),
        ((5,), (3.0,)),
        ((5, 1), (0.2,)),
        ((5, 3), 3.0),
        ((5, 3), (0.1, 1.0, 20.0)),
        ((5, 2, 2), (0.1, 1.0, 20.0, 3.0)),
    ],
    ids=str,
)
class TestScaledTargets:
    def test_equals_the_loss_of_scaled_outputs_and_targets(
        self, base: Base, shape: tuple[int, ...], scale: float | tuple[float, ...]
    ) -> None:
        outputs = torch.randn(shape, dtype=torch.float64, requires_grad=True)
        targets = torch.randn(shape, dtype=torch.float64)
        divisor = torch.tensor(scale, dtype=torch.float64)
        if len(shape) > 1 and divisor.ndim:
            divisor = divisor.view(1, *shape[1:])
        expected = base.loss(outputs / divisor, targets / divisor)
        actual = ScaledTargets(base, scale=scale).loss(outputs, targets)
        torch.testing.assert_close(actual, expected)
        (got,) = torch.autograd.grad(actual.sum(), outputs)
        (wanted,) = torch.autograd.grad(expected.sum(), outputs)
        torch.testing.assert_close(got, wanted)

    def test_many_networks_have_the_losses_of_each(
        self, base: Base, shape: tuple[int, ...], scale: float | tuple[float, ...]
    ) -> None:
        objective = ScaledTargets(base, scale=scale)
        outputs, targets = torch.randn(3, *shape), torch.randn(3, *shape)
        expected = torch.stack([objective.loss(*one) for one in zip(outputs, targets, strict=True)])
        torch.testing.assert_close(torch.vmap(objective.loss)(outputs, targets), expected)


def test_the_loss_does_not_depend_on_the_units() -> None:
    outputs, targets = torch.randn(9, 2, dtype=torch.float64), torch.randn(9, 2).double()
    plain = MeanSquaredError().loss(outputs, targets)
    units = torch.tensor([1e-6, 1e9], dtype=torch.float64)
    scaled = ScaledTargets(MeanSquaredError(), scale=units).loss(outputs * units, targets * units)  # type: ignore[arg-type]
    torch.testing.assert_close(scaled, plain)


def test_a_small_error_of_large_targets_is_exact() -> None:
    """The quotients of 1.7e9 and of its successor in float32 would be rounded."""
    targets = torch.tensor([1.7e9])
    outputs = torch.nextafter(targets, targets + 1e9)
    error = float(outputs - targets)
    loss = ScaledTargets(MeanAbsoluteError(), scale=300.0).loss(outputs, targets)
    assert loss.item() == float(torch.tensor(error) / 300.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_outputs_are_widened_first(dtype: torch.dtype) -> None:
    outputs, values = torch.randn(5, 2).to(dtype), torch.randn(5, 2)
    objective = ScaledTargets(MeanSquaredError(), scale=(1e-6, 1e6))
    expected = objective.loss(outputs.float(), values)
    assert torch.equal(objective.loss(outputs, values), expected)
    assert torch.isfinite(expected).all()


def test_mixup_mixes_a_scaled_loss() -> None:
    model, inputs, targets = nn.Linear(3, 2), torch.randn(6, 3), torch.randn(6, 2)
    batch = Batch(inputs, targets, None, torch.arange(6))
    torch.manual_seed(1)
    scaled = Mixup(1.0, objective=ScaledTargets(MeanSquaredError(), scale=2.0))(model, batch)
    torch.manual_seed(1)
    plain = Mixup(1.0, objective=MeanSquaredError())(model, batch)
    torch.testing.assert_close(scaled, plain / 4.0)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf, (1.0, 0.0)], ids=str)
def test_scale_out_of_range(scale: float | tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"scale.* must be a finite number greater than 0"):
        ScaledTargets(MeanSquaredError(), scale=scale)


@pytest.mark.parametrize("shape", [(4, 3), (4,), (4, 2, 2)])
def test_a_scale_for_other_targets(shape: tuple[int, ...]) -> None:
    objective = ScaledTargets(MeanSquaredError(), scale=(1.0, 2.0))
    count = math.prod(shape[1:])
    with pytest.raises(ValueError, match=f"scale must be .* each of the {count} entries"):
        objective.loss(torch.zeros(shape), torch.zeros(shape))


@pytest.mark.parametrize("scale", [1e-20, 0.5, (2.0, 1e20)])
def test_a_likelihood_is_that_of_scaled_targets(scale: float | tuple[float, float]) -> None:
    """Oracle: means, variances and targets are divided first; no scale is out of range."""
    factors = torch.tensor([scale, scale] if isinstance(scale, float) else scale)
    means, log_variances, targets = torch.randn(3, 7, 2).unbind()
    expected = GaussianNLL().loss(torch.cat([means, log_variances], 1), targets)
    outputs = torch.cat([means * factors, log_variances + 2 * factors.log()], 1)
    found = ScaledTargets(GaussianNLL(), scale=scale).loss(outputs, targets * factors)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("base", [CrossEntropy(), MeanSquaredError, None], ids=str)
def test_another_objective(base: object) -> None:
    with pytest.raises(TypeError, match=r"objective must be MeanSquaredError"):
        ScaledTargets(base, scale=1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "given", [[1, 2.5], np.array([1, 2.5]), torch.tensor([1, 2.5])], ids=lambda value: type(value)
)
def test_the_scale_is_stored_as_plain_numbers(given: tuple[float, ...]) -> None:
    """The repr is part of the fingerprint of a checkpoint."""
    objective = ScaledTargets(Huber(), scale=given)
    before = repr(objective)
    assert before == "ScaledTargets(objective=Huber(delta=1.0), scale=(1.0, 2.5))"
    objective.loss(torch.zeros(3, 2), torch.ones(3, 2))
    assert repr(objective) == before
    number: Tensor = torch.tensor(2.0)
    assert ScaledTargets(Huber(), scale=number).scale == 2.0  # type: ignore[arg-type]


def test_it_is_an_objective_of_outputs() -> None:
    objective = ScaledTargets(MeanSquaredError(), scale=2.0)
    assert isinstance(objective, Objective)
    assert isinstance(objective, OutputObjective)
    assert objective.task == "regression"
    model, inputs, targets = nn.Linear(3, 2), torch.randn(5, 3), torch.randn(5, 2)
    expected = objective.loss(model(inputs), targets)
    assert torch.equal(objective(model, Batch(inputs, targets, None, torch.arange(5))), expected)
    assert objective.predictions(targets, targets) is targets
