"""Metrics of labels against scikit-learn, and the calibration error against a loop."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mlpkit.training import Evaluation
from mlpkit.training.metrics import MultilabelAccumulator

sklearn_metrics = importlib.import_module("sklearn.metrics")  # it has no types


def evaluate(
    logits: Tensor,
    targets: Tensor,
    weights: Tensor | None = None,
    *,
    batch_size: int = 7,
    thresholds: Tensor | None = None,
    classes: tuple[str, ...] | None = None,
    num_bins: int = 15,
) -> Evaluation:
    metrics = MultilabelAccumulator(classes, thresholds=thresholds, num_bins=num_bins)
    for start in range(0, len(logits), batch_size):
        part = slice(start, start + batch_size)
        metrics.update(logits[part], targets[part], None if weights is None else weights[part])
    return metrics.compute()


def labels(rows: int, count: int) -> Tensor:
    return (torch.rand(rows, count) < 0.3).float()


@pytest.mark.parametrize("thresholds", [None, 0.2, [0.1, 0.5, 0.8]], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_equals_scikit_learn(
    batch_size: int, weighted: bool, thresholds: float | list[float] | None
) -> None:
    logits, targets = 2 * torch.randn(50, 3), labels(50, 3)
    weights = torch.rand(50) if weighted else None
    limits = None if thresholds is None else torch.tensor(thresholds)
    evaluation = evaluate(logits, targets, weights, batch_size=batch_size, thresholds=limits)
    shares = None if weights is None else weights.double().numpy()
    true = targets.int().numpy()
    predicted = (logits.sigmoid() > (0.5 if limits is None else limits)).int().numpy()
    hamming = sklearn_metrics.hamming_loss(true, predicted, sample_weight=shares)
    assert evaluation.accuracy == pytest.approx(1.0 - hamming)
    assert evaluation.error == pytest.approx(hamming)
    exact = sklearn_metrics.accuracy_score(true, predicted, sample_weight=shares)
    assert evaluation.exact_match == pytest.approx(exact)
    columns = sklearn_metrics.precision_recall_fscore_support(true, predicted, zero_division=0.0)
    for index, one in enumerate(evaluation.per_label):
        assert one.name == str(index)
        got = (one.precision, one.recall, one.f1, one.support)
        assert got == pytest.approx(tuple(column[index] for column in columns))
    losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(1).double()
    factors = torch.ones(50).double() if weights is None else weights.double()
    assert evaluation.loss == pytest.approx(float((losses * factors).sum() / factors.sum()))
    assert evaluation.num_examples == 50
    assert evaluation.task == "multilabel"


def test_the_loss_is_that_of_scikit_learn() -> None:
    logits, targets = torch.randn(40, 2).double(), labels(40, 2)
    expected = np.mean(
        [
            sklearn_metrics.log_loss(targets[:, k].numpy(), logits[:, k].sigmoid().numpy())
            for k in range(2)
        ]
    )
    assert evaluate(logits, targets.double()).loss == pytest.approx(float(expected), rel=1e-9)


@given(
    rows=st.integers(1, 40),
    count=st.integers(1, 4),
    num_bins=st.integers(1, 20),
    scale=st.floats(0.0, 30.0),
    seed=st.integers(0, 2**31),
)
@settings(deadline=None, max_examples=40)
def test_the_calibration_error_equals_a_loop(
    rows: int, count: int, num_bins: int, scale: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(rows, count, generator=generator)
    targets = torch.randint(0, 2, (rows, count), generator=generator).float()
    bins: list[list[tuple[float, float]]] = [[] for _ in range(num_bins)]
    for z, y in zip(logits.flatten(), targets.flatten().tolist(), strict=True):
        p = float(z.double().sigmoid())
        for index in range(num_bins):
            lower = -1.0 if index == 0 else index / num_bins  # 0 belongs to the first bin
            if lower < p <= (index + 1) / num_bins:
                bins[index].append((p, y))
    expected = sum(
        abs(sum(p for p, _ in members) - sum(y for _, y in members)) for members in bins
    ) / (rows * count)
    actual = evaluate(logits, targets, num_bins=num_bins).calibration_error
    assert actual == pytest.approx(expected, abs=1e-12)


def test_the_calibration_does_not_depend_on_the_thresholds() -> None:
    logits, targets = torch.randn(30, 2), labels(30, 2)
    plain = evaluate(logits, targets)
    other = evaluate(logits, targets, thresholds=torch.tensor(0.9))
    assert other.calibration_error == plain.calibration_error
    assert other.accuracy != plain.accuracy


@pytest.mark.parametrize("weighted", [False, True])
def test_the_batches_do_not_matter(weighted: bool) -> None:
    logits, targets = torch.randn(60, 3), labels(60, 3)
    weights = torch.rand(60) if weighted else None
    whole = evaluate(logits, targets, weights, batch_size=60)
    for batch_size in (1, 7, 59):
        parts = evaluate(logits, targets, weights, batch_size=batch_size)
        assert parts.loss == pytest.approx(whole.loss, rel=1e-13)
        assert parts.accuracy == pytest.approx(whole.accuracy, rel=1e-13)
        assert parts.exact_match == pytest.approx(whole.exact_match, rel=1e-13)
        assert parts.calibration_error == pytest.approx(whole.calibration_error, abs=1e-13)
        assert parts.per_label == whole.per_label


def test_one_label_without_an_axis() -> None:
    logits, targets = torch.randn(20), (torch.rand(20) < 0.5).float()
    assert evaluate(logits, targets) == evaluate(logits[:, None], targets[:, None])


def test_soft_labels_count_as_present_above_one_half() -> None:
    logits = torch.tensor([[1.0, -1.0, 1.0, -1.0]])
    evaluation = evaluate(logits, torch.tensor([[0.6, 0.4, 0.5, 0.9]]))
    assert evaluation.accuracy == 0.5
    assert [one.support for one in evaluation.per_label] == [1, 0, 0, 1]


def test_a_label_that_never_occurs_has_zeros() -> None:
    evaluation = evaluate(torch.full((4, 2), -1.0), torch.tensor([[1.0, 0.0]]).repeat(4, 1))
    assert [(one.precision, one.recall, one.f1) for one in evaluation.per_label] == [(0, 0, 0)] * 2
    assert [one.support for one in evaluation.per_label] == [4, 0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_widened_first(dtype: torch.dtype) -> None:
    logits, targets = torch.randn(30, 2).to(dtype), labels(30, 2)
    assert evaluate(logits, targets) == evaluate(logits.float(), targets)


def test_losses_of_another_objective_are_averaged_as_they_are() -> None:
    metrics = MultilabelAccumulator()
    metrics.update(torch.zeros(2, 1), torch.ones(2, 1), losses=torch.tensor([3.0, 5.0]))
    assert metrics.compute().loss == 4.0


def test_nothing_waits_for_the_device_before_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values are checked on the CPU, where reading is cheap; here they count as unreadable."""

    def read(_tensor: Tensor, *_arguments: object) -> float:
        raise AssertionError("a tensor was read")

    metrics, thresholds = MultilabelAccumulator(thresholds=torch.rand(3)), torch.rand(4)
    logits, targets = torch.randn(4, 3), labels(4, 3)
    module = "mlpkit.training.objectives._binary_cross_entropy.is_readable"
    monkeypatch.setattr(module, lambda _tensor: False)
    for name in ("item", "tolist", "__float__", "__int__", "__bool__", "cpu", "numpy"):
        monkeypatch.setattr(Tensor, name, read)
    for _ in range(2):
        metrics.update(logits, targets, thresholds)
    monkeypatch.undo()
    assert metrics.compute().num_examples == 8


class TestRefusals:
    def test_nothing_counted(self) -> None:
        with pytest.raises(ValueError, match="data must be at least one example, got 0"):
            MultilabelAccumulator().compute()

    def test_weights_that_are_all_zero(self) -> None:
        with pytest.raises(ValueError, match=r"weights must be greater than 0 .*, got 0\.0"):
            evaluate(torch.zeros(2, 2), torch.zeros(2, 2), torch.zeros(2))

    def test_weights_and_losses_of_another_shape(self) -> None:
        metrics = MultilabelAccumulator()
        with pytest.raises(ValueError, match=r"weights must be of shape \(2,\), got \(3,\)"):
            metrics.update(torch.zeros(2, 2), torch.zeros(2, 2), torch.ones(3))
        with pytest.raises(ValueError, match=r"losses must be of shape \(2,\), got \(2, 2\)"):
            metrics.update(torch.zeros(2, 2), torch.zeros(2, 2), losses=torch.ones(2, 2))

    def test_class_indices(self) -> None:
        with pytest.raises(TypeError, match=r"targets must be floating-point"):
            MultilabelAccumulator().update(torch.zeros(2, 2), torch.zeros(2, dtype=torch.int64))

    def test_names_and_thresholds_for_other_labels(self) -> None:
        logits = torch.zeros(2, 2)
        with pytest.raises(ValueError, match="classes must be one name for each of the 2 labels"):
            evaluate(logits, logits, classes=("a",))
        with pytest.raises(ValueError, match=r"thresholds must be .* each of the 2 labels"):
            evaluate(logits, logits, thresholds=torch.zeros(3))
