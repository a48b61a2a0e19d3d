"""Metrics against scikit-learn, and the calibration error against a loop."""

from __future__ import annotations

import importlib
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mlpkit.training import Evaluation
from mlpkit.training.metrics import ClassificationAccumulator, RegressionAccumulator

sklearn_metrics = importlib.import_module("sklearn.metrics")  # it has no types


def evaluate(
    logits: Tensor,
    targets: Tensor,
    weights: Tensor | None = None,
    *,
    batch_size: int = 7,
    num_bins: int = 15,
) -> Evaluation:
    metrics = ClassificationAccumulator(num_bins=num_bins)
    for start in range(0, len(logits), batch_size):
        part = slice(start, start + batch_size)
        metrics.update(logits[part], targets[part], None if weights is None else weights[part])
    return metrics.compute()


def calibration_error(logits: Tensor, targets: Tensor, num_bins: int) -> float:
    """Guo et al. 2017, equation 3, one example at a time."""
    bins: list[list[tuple[float, float]]] = [[] for _ in range(num_bins)]
    for z, target in zip(logits, targets, strict=True):
        probabilities = z.double().softmax(dim=0)
        confidence = float(probabilities.max())
        for index in range(num_bins):
            if index / num_bins < confidence <= (index + 1) / num_bins:
                bins[index].append((confidence, float(probabilities.argmax() == target)))
    total = 0.0
    for members in bins:
        if members:
            confidences, hits = zip(*members, strict=True)
            total += len(members) / len(logits) * abs(np.mean(hits) - np.mean(confidences))
    return float(total)


@pytest.mark.parametrize("batch_size", [1, 7, 50, 1000])
@pytest.mark.parametrize("num_classes", [2, 5])
def test_equals_scikit_learn(num_classes: int, batch_size: int) -> None:
    logits, targets = 3 * torch.randn(50, num_classes), torch.randint(0, num_classes, (50,))
    evaluation = evaluate(logits, targets, batch_size=batch_size)
    predicted, labels = logits.argmax(dim=1).numpy(), list(range(num_classes))
    true = targets.numpy()
    expected = sklearn_metrics.confusion_matrix(true, predicted, labels=labels)
    assert evaluation.confusion.tolist() == expected.tolist()
    assert evaluation.confusion.dtype == torch.int64
    assert evaluation.accuracy == pytest.approx(sklearn_metrics.accuracy_score(true, predicted))
    assert evaluation.error == pytest.approx(1 - sklearn_metrics.accuracy_score(true, predicted))
    per_class = sklearn_metrics.precision_recall_fscore_support(
        true, predicted, labels=labels, zero_division=0.0
    )
    for index, one in enumerate(evaluation.per_class):
        assert one.name == str(index)
        got = (one.precision, one.recall, one.f1, one.support)
        assert got == pytest.approx(tuple(column[index] for column in per_class))
    probabilities = logits.double().softmax(dim=1).numpy()
    assert evaluation.loss == pytest.approx(
        sklearn_metrics.log_loss(true, probabilities, labels=labels), 1e-6
    )
    assert evaluation.num_examples == 50


def test_weights_count_in_loss_and_accuracy() -> None:
    logits, targets, weights = torch.randn(50, 3), torch.randint(0, 3, (50,)), torch.rand(50)
    evaluation = evaluate(logits, targets, weights)
    true, predicted, shares = (
        targets.numpy(),
        logits.argmax(dim=1).numpy(),
        weights.double().numpy(),
    )
    accuracy = sklearn_metrics.accuracy_score(true, predicted, sample_weight=shares)
    assert evaluation.accuracy == pytest.approx(accuracy)
    loss = sklearn_metrics.log_loss(
        true, logits.double().softmax(dim=1).numpy(), sample_weight=shares
    )
    assert evaluation.loss == pytest.approx(loss, rel=1e-6)
    assert (
        evaluation.confusion.tolist() == sklearn_metrics.confusion_matrix(true, predicted).tolist()
    )


@given(
    rows=st.integers(1, 40),
    num_classes=st.integers(2, 5),
    num_bins=st.integers(1, 20),
    scale=st.floats(0.0, 30.0),
    seed=st.integers(0, 2**31),
)
@settings(deadline=None, max_examples=40)
def test_the_calibration_error_equals_a_loop(
    rows: int, num_classes: int, num_bins: int, scale: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(rows, num_classes, generator=generator)
    targets = torch.randint(0, num_classes, (rows,), generator=generator)
    expected = calibration_error(logits, targets, num_bins)
    actual = evaluate(logits, targets, num_bins=num_bins).calibration_error
    assert actual == pytest.approx(expected, abs=1e-12)


def test_a_sure_and_right_classifier_is_calibrated_and_an_unsure_one_is_not() -> None:
    targets = torch.tensor([0, 1, 0])
    sure = 1e4 * F.one_hot(targets, 2).float()
    assert evaluate(sure, targets).calibration_error == 0.0
    assert evaluate(torch.tensor([[0.0, 0.0]]), torch.tensor([0])).calibration_error == 0.5


def test_the_mean_over_uneven_batches_is_that_of_the_whole() -> None:
    """Three batches of 4, 4 and 1: the single example must not weigh a third."""
    logits, targets = 5 * torch.randn(9, 3), torch.randint(0, 3, (9,))
    parts, whole = evaluate(logits, targets, batch_size=4), evaluate(logits, targets, batch_size=9)
    assert parts.loss == pytest.approx(whole.loss, rel=1e-15)
    assert parts.accuracy == whole.accuracy
    expected = F.cross_entropy(logits, targets, reduction="none").double().mean()
    assert parts.loss == pytest.approx(expected.item(), rel=1e-14)


def test_soft_targets_count_by_their_largest_entry() -> None:
    logits = torch.randn(20, 3)
    targets = torch.randn(20, 3).softmax(dim=1)
    evaluation = evaluate(logits, targets)
    expected = sklearn_metrics.accuracy_score(
        targets.argmax(dim=1).numpy(), logits.argmax(dim=1).numpy()
    )
    assert evaluation.accuracy == pytest.approx(expected)
    loss = F.cross_entropy(logits, targets).item()
    assert evaluation.loss == pytest.approx(loss, rel=1e-6)


def test_a_class_that_never_occurs_has_zeros() -> None:
    """As scikit-learn with zero_division=0, and without a warning."""
    evaluation = evaluate(torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([1]))
    assert [one.precision for one in evaluation.per_class] == [0.0, 0.0, 0.0]
    assert [one.recall for one in evaluation.per_class] == [0.0, 0.0, 0.0]
    assert [one.f1 for one in evaluation.per_class] == [0.0, 0.0, 0.0]
    assert [one.support for one in evaluation.per_class] == [0, 1, 0]


def test_losses_of_another_objective_are_averaged_as_they_are() -> None:
    metrics = ClassificationAccumulator()
    logits, targets = torch.randn(4, 3), torch.randint(0, 3, (4,))
    weights, losses = torch.tensor([1.0, 0.0, 2.0, 1.0]), torch.tensor([1.0, 9.0, 3.0, 5.0])
    metrics.update(logits, targets, weights, losses=losses)
    assert metrics.compute().loss == (1.0 + 2 * 3.0 + 5.0) / 4.0


def test_nothing_waits_for_the_device_before_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    """No number is read out of a tensor while batches are counted."""

    def read(_tensor: Tensor, *_arguments: object) -> float:
        raise AssertionError("a tensor was read")

    metrics, regression = ClassificationAccumulator(), RegressionAccumulator()
    logits, targets, weights = torch.randn(4, 3), torch.randint(0, 3, (4,)), torch.rand(4)
    for name in ("item", "tolist", "__float__", "__int__", "__bool__", "cpu", "numpy"):
        monkeypatch.setattr(Tensor, name, read)
    for _ in range(2):
        metrics.update(logits, targets, weights)
        regression.update(logits, logits, weights)
    monkeypatch.undo()
    assert metrics.compute().num_examples == 8


class TestRefusals:
    def test_nothing_counted(self) -> None:
        for metrics in (ClassificationAccumulator(), RegressionAccumulator()):
            with pytest.raises(ValueError, match="data must be at least one example, got 0"):
                metrics.compute()

    def test_weights_that_are_all_zero(self) -> None:
        with pytest.raises(ValueError, match=r"weights must be greater than 0 .*, got 0\.0"):
            evaluate(torch.zeros(2, 2), torch.zeros(2, dtype=torch.int64), torch.zeros(2))

    def test_weights_of_another_shape(self) -> None:
        with pytest.raises(ValueError, match=r"weights must be of shape \(2,\), got \(2, 1\)"):
            evaluate(torch.zeros(2, 2), torch.zeros(2, dtype=torch.int64), torch.zeros(2, 1))

    def test_names_for_another_number_of_classes(self) -> None:
        with pytest.raises(ValueError, match="classes must be one name for each of the 2 outputs"):
            ClassificationAccumulator(["a"]).update(torch.zeros(1, 2), torch.tensor([0]))

    def test_targets_of_a_wrong_type(self) -> None:
        with pytest.raises(TypeError, match="targets must be int64"):
            ClassificationAccumulator().update(
                torch.zeros(1, 2), torch.tensor([0], dtype=torch.int32)
            )


def test_the_confusion_matrix_takes_memory_only_where_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With 100,000 classes a matrix would have 10^10 entries; counts of merged parts add up."""
    monkeypatch.setattr("mlpkit.training.metrics._classification_accumulator._MAX_PAIRS", 5)
    num_classes = 100_000
    metrics = ClassificationAccumulator()
    expected: Counter[tuple[int, int]] = Counter()
    for seed in range(4):
        targets = torch.arange(3) * 7 + seed % 2
        logits = torch.zeros(3, num_classes)
        logits[torch.arange(3), targets + (torch.arange(3) == 1)] = 5.0
        metrics.update(logits, targets)
        expected.update(zip(targets.tolist(), logits.argmax(1).tolist(), strict=True))
    found = metrics.compute().classification
    assert found is not None
    assert {(true, guess): count for true, guess, count in found.counts} == dict(expected)
    assert found.per_class[7].recall == 0.0
    assert found.per_class[0].support == 2
