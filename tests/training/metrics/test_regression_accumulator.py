"""Metrics of a regression against scikit-learn, also with weights, offsets and uneven batches."""

from __future__ import annotations

import importlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mlpkit.training import Evaluation
from mlpkit.training.metrics import RegressionAccumulator

sklearn_metrics = importlib.import_module("sklearn.metrics")  # it has no types


def evaluate(
    outputs: Tensor,
    targets: Tensor,
    weights: Tensor | None = None,
    *,
    batch_size: int = 7,
    names: tuple[str, ...] | None = None,
) -> Evaluation:
    metrics = RegressionAccumulator(names)
    for start in range(0, len(outputs), batch_size):
        part = slice(start, start + batch_size)
        metrics.update(outputs[part], targets[part], None if weights is None else weights[part])
    return metrics.compute()


def assert_as_scikit_learn(
    evaluation: Evaluation,
    outputs: Tensor,
    targets: Tensor,
    weights: Tensor | None,
    rel: float = 1e-9,
) -> None:
    true, predicted = (one.double().reshape(len(one), -1).numpy() for one in (targets, outputs))
    shares = None if weights is None else weights.double().numpy()

    def metric(name: str) -> list[float]:
        function = getattr(sklearn_metrics, name)
        found = function(true, predicted, sample_weight=shares, multioutput="raw_values")
        return np.asarray(found).tolist()  # type: ignore[no-any-return]

    squares, absolute, r2 = map(metric, ("mean_squared_error", "mean_absolute_error", "r2_score"))
    rmse = metric("root_mean_squared_error")
    found = evaluation.per_target
    assert [one.rmse for one in found] == pytest.approx(rmse, rel=rel)
    assert [one.mae for one in found] == pytest.approx(absolute, rel=rel)
    assert [one.r2 for one in found] == pytest.approx(r2, rel=rel, abs=rel)
    assert evaluation.rmse == pytest.approx(math.sqrt(np.mean(squares)), rel=rel)
    assert evaluation.mae == pytest.approx(np.mean(absolute), rel=rel)
    uniform = sklearn_metrics.r2_score(true, predicted, sample_weight=shares)
    assert evaluation.r2 == pytest.approx(uniform, rel=rel, abs=rel)


@pytest.mark.parametrize("batch_size", [1, 7, 50, 1000])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(50,), (50, 1), (50, 3), (50, 2, 2)])
def test_equals_scikit_learn(shape: tuple[int, ...], weighted: bool, batch_size: int) -> None:
    targets = 3.0 * torch.randn(shape) + torch.arange(math.prod(shape[1:])).view(shape[1:])
    outputs = targets + 0.5 * torch.randn(shape)
    weights = torch.rand(50) if weighted else None
    evaluation = evaluate(outputs, targets, weights, batch_size=batch_size)
    assert_as_scikit_learn(evaluation, outputs, targets, weights)
    assert evaluation.num_examples == 50
    assert evaluation.task == "regression"
    squares = (outputs - targets).square().reshape(50, -1).mean(1).double()
    shares = torch.ones(50).double() if weights is None else weights.double()
    expected = float((squares * shares).sum() / shares.sum())
    assert evaluation.loss == pytest.approx(expected, rel=1e-12)


@given(
    rows=st.integers(2, 40),
    batch_size=st.integers(1, 41),
    offset=st.sampled_from([0.0, -3.0, 1.7e9, -1.7e12]),
    scale=st.sampled_from([1e-3, 1.0, 1e4]),
    seed=st.integers(0, 2**31),
)
@settings(deadline=None, max_examples=60)
def test_a_large_offset_does_not_cancel(
    rows: int, batch_size: int, offset: float, scale: float, seed: int
) -> None:
    """The sums of squares of 1.7e12 would need 24 digits for the variance."""
    generator = torch.Generator().manual_seed(seed)
    targets = offset + scale * torch.randn(rows, 2, generator=generator, dtype=torch.float64)
    outputs = targets + 0.3 * scale * torch.randn(rows, 2, generator=generator).double()
    weights = torch.rand(rows, generator=generator).double()
    evaluation = evaluate(outputs, targets, weights, batch_size=batch_size)
    # Oracle in exact units: the differences to the first target are exact.
    first = targets[0]
    rel = max(1e-9, 30.0 * abs(offset) / scale * 2.0**-52)
    assert_as_scikit_learn(evaluation, outputs - first, targets - first, weights, rel=rel)


def test_targets_sorted_by_size_do_not_cancel() -> None:
    """The first batch says nothing about the mean of the others."""
    targets = torch.cat([torch.zeros(7), 1.7e9 + torch.arange(50.0, dtype=torch.float64)])
    weights = torch.cat([torch.zeros(7), torch.ones(50)])
    outputs = targets + 1.0
    evaluation = evaluate(outputs, targets, weights)
    assert evaluation.r2 == pytest.approx(1.0 - 50.0 / (50.0 * (50.0**2 - 1.0) / 12.0), rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_outputs_of_low_precision_are_read_exactly(dtype: torch.dtype) -> None:
    targets = torch.randn(30, 2)
    outputs = (targets + 0.1 * torch.randn(30, 2)).to(dtype)
    assert_as_scikit_learn(evaluate(outputs, targets), outputs, targets, None)


@pytest.mark.parametrize("value", [0.0, 0.1, 1.7e9 + 0.1])
@pytest.mark.parametrize("batch_size", [1, 3, 9])
def test_a_constant_target(value: float, batch_size: int) -> None:
    """As scikit-learn: 1 where it is predicted exactly, else 0; no division by zero."""
    targets = torch.full((9, 2), value, dtype=torch.float64)
    outputs = targets.clone()
    outputs[4, 1] += 1.0
    evaluation = evaluate(outputs, targets, torch.rand(9), batch_size=batch_size)
    assert [one.r2 for one in evaluation.per_target] == [1.0, 0.0]
    assert evaluation.r2 == 0.5
    assert evaluation.per_target[0].rmse == 0.0


def test_one_example_has_no_variance() -> None:
    assert evaluate(torch.tensor([1.0]), torch.tensor([1.0])).r2 == 1.0
    assert evaluate(torch.tensor([1.0]), torch.tensor([2.0])).r2 == 0.0


def test_the_mean_prediction_has_no_r2_and_a_worse_one_a_negative_r2() -> None:
    targets = torch.tensor([1.0, 2.0, 3.0])
    assert evaluate(torch.full((3,), 2.0), targets).r2 == pytest.approx(0.0, abs=1e-15)
    assert evaluate(torch.full((3,), 9.0), targets).r2 < -1.0


@pytest.mark.parametrize("weighted", [False, True])
def test_the_batches_do_not_matter(weighted: bool) -> None:
    outputs, targets = torch.randn(60, 3), 100.0 + torch.randn(60, 3)
    weights = torch.rand(60) if weighted else None
    whole = evaluate(outputs, targets, weights, batch_size=60)
    for batch_size in (1, 7, 59):
        parts = evaluate(outputs, targets, weights, batch_size=batch_size)
        assert parts.loss == pytest.approx(whole.loss, rel=1e-13)
        assert parts.rmse == pytest.approx(whole.rmse, rel=1e-13)
        assert parts.mae == pytest.approx(whole.mae, rel=1e-13)
        assert parts.r2 == pytest.approx(whole.r2, rel=1e-12)


def test_sums_in_float64() -> None:
    """A float32 sum of 2^24 + 1 equal losses would stop growing; here it is exact."""
    metrics = RegressionAccumulator()
    metrics.update(torch.zeros(1, 1), torch.full((1, 1), 4096.0))  # loss 2^24
    for _ in range(8):
        metrics.update(torch.zeros(1, 1), torch.ones(1, 1))  # loss 1
    evaluation = metrics.compute()
    assert evaluation.loss == (2**24 + 8) / 9
    assert evaluation.rmse == math.sqrt((2**24 + 8) / 9)


def test_losses_of_another_objective_are_averaged_as_they_are() -> None:
    metrics = RegressionAccumulator()
    metrics.update(torch.zeros(2), torch.ones(2), losses=torch.tensor([3.0, 5.0]))
    evaluation = metrics.compute()
    assert evaluation.loss == 4.0
    assert evaluation.rmse == 1.0


def test_targets_have_names() -> None:
    targets = torch.randn(9, 2)
    found = evaluate(targets, targets, names=("width", "height")).per_target
    assert [one.name for one in found] == ["width", "height"]
    assert [one.name for one in evaluate(targets, targets).per_target] == ["0", "1"]


class TestRefusals:
    def test_nothing_counted(self) -> None:
        with pytest.raises(ValueError, match="data must be at least one example, got 0"):
            RegressionAccumulator().compute()

    def test_weights_that_are_all_zero(self) -> None:
        with pytest.raises(ValueError, match=r"weights must be greater than 0 .*, got 0\.0"):
            evaluate(torch.zeros(2), torch.zeros(2), torch.zeros(2))

    def test_weights_and_losses_of_another_shape(self) -> None:
        metrics = RegressionAccumulator()
        with pytest.raises(ValueError, match=r"weights must be of shape \(2,\), got \(3,\)"):
            metrics.update(torch.zeros(2), torch.zeros(2), torch.ones(3))
        with pytest.raises(ValueError, match=r"losses must be of shape \(2,\), got \(2, 1\)"):
            metrics.update(torch.zeros(2), torch.zeros(2), losses=torch.ones(2, 1))

    def test_predictions_of_another_shape(self) -> None:
        with pytest.raises(ValueError, match=r"targets must be of the same shape"):
            evaluate(torch.zeros(2, 1), torch.zeros(2))

    def test_names_for_another_number_of_targets(self) -> None:
        with pytest.raises(ValueError, match=r"target_names must be one name for each of the 2"):
            evaluate(torch.zeros(3, 2), torch.zeros(3, 2), names=("a",))
