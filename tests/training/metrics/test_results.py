"""Results of an evaluation: what they print, show and give as JSON."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest
import torch
from torch import Tensor

from mlpkit import _serialization
from mlpkit.training import Evaluation
from mlpkit.training.metrics import (
    ClassificationAccumulator,
    LossAccumulator,
    MultilabelAccumulator,
    RegressionAccumulator,
)


def evaluate(logits: Tensor, targets: Tensor) -> Evaluation:
    metrics = ClassificationAccumulator()
    metrics.update(logits, targets)
    return metrics.compute()


def test_prints_a_table_with_the_names_of_the_classes() -> None:
    metrics = ClassificationAccumulator(["cat", "elephant"])
    metrics.update(torch.tensor([[9.0, 0.0], [9.0, 0.0]]), torch.tensor([0, 1]))
    lines = str(metrics.compute()).splitlines()
    assert lines[0] == (
        "loss 4.5001 on 2 examples, accuracy 50.00%, error 50.00%, calibration error 49.99%"
    )
    assert lines[1].split() == ["class", "precision", "recall", "f1", "support"]
    assert lines[2].split() == ["cat", "0.5000", "1.0000", "0.6667", "1"]
    assert lines[3].split() == ["elephant", "0.0000", "0.0000", "0.0000", "1"]
    assert len({len(line) for line in lines[1:]}) == 1


def test_is_plain_json() -> None:
    evaluation = evaluate(torch.randn(9, 3), torch.randint(0, 3, (9,)))
    again = json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))
    assert again["loss"] == evaluation.loss
    assert again["classification"]["counts"] == evaluation.confusion.tolist()
    same = evaluate(torch.zeros(2, 2), torch.zeros(2, dtype=torch.int64))
    assert same == evaluate(torch.zeros(2, 2), torch.zeros(2, dtype=torch.int64))
    assert same != evaluation


def test_an_unknown_prediction_has_a_loss_only() -> None:
    metrics = LossAccumulator()
    metrics.update(torch.full((9,), 0.25))
    evaluation = metrics.compute()
    assert evaluation.task == "regression"
    assert str(evaluation) == "loss 0.2500 on 9 examples"
    assert repr(evaluation) == "Evaluation(loss=0.2500, num_examples=9)"
    for name in ("accuracy", "error", "confusion", "per_class", "calibration_error"):
        with pytest.raises(
            AttributeError, match=f"{name} must be read from the evaluation of a classifier"
        ):
            getattr(evaluation, name)
    for name in ("rmse", "mae", "r2", "per_target"):
        with pytest.raises(AttributeError, match=f"{name} must be .* whose outputs have the shape"):
            getattr(evaluation, name)


def test_a_regression_prints_its_errors_and_a_table_of_several_targets() -> None:
    metrics = RegressionAccumulator(["width", "height"])
    metrics.update(torch.zeros(4, 2), torch.tensor([[1.0, 2.0], [-1.0, 2.0]]).repeat(2, 1))
    evaluation = metrics.compute()
    lines = str(evaluation).splitlines()
    assert lines[0] == "loss 2.5000 on 4 examples, RMSE 1.581, MAE 1.5, R2 0.0000"
    assert lines[1].split() == ["target", "rmse", "mae", "r2"]
    assert lines[2].split() == ["width", "1", "1", "0.0000"]
    assert lines[3].split() == ["height", "2", "2", "0.0000"]
    assert len({len(line) for line in lines[1:]}) == 1
    assert repr(evaluation) == (
        "Evaluation(loss=2.5000, num_examples=4, rmse=1.581, mae=1.5, r2=0.0000, num_targets=2)"
    )
    single = RegressionAccumulator()
    single.update(torch.zeros(2), torch.ones(2))
    assert str(single.compute()) == "loss 1.0000 on 2 examples, RMSE 1, MAE 1, R2 0.0000"
    for name in ("accuracy", "confusion", "calibration_error", "exact_match", "per_label"):
        with pytest.raises(AttributeError, match=f"{name} must be read from .* a classifier"):
            getattr(evaluation, name)


def test_labels_print_a_table_with_their_names() -> None:
    metrics = MultilabelAccumulator(["red", "crimson"])
    metrics.update(torch.tensor([[9.0, 9.0], [9.0, -9.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    evaluation = metrics.compute()
    lines = str(evaluation).splitlines()
    assert lines[0] == (
        "loss 2.2501 on 2 examples, accuracy 75.00%, exact match 50.00%, calibration error 24.99%"
    )
    assert lines[1].split() == ["label", "precision", "recall", "f1", "support"]
    assert lines[2].split() == ["red", "1.0000", "1.0000", "1.0000", "2"]
    assert lines[3].split() == ["crimson", "0.0000", "0.0000", "0.0000", "0"]
    assert repr(evaluation) == (
        "Evaluation(loss=2.2501, num_examples=2, accuracy=0.7500, exact_match=0.5000, "
        "calibration_error=0.2499, num_labels=2)"
    )
    for name in ("confusion", "per_class"):
        with pytest.raises(AttributeError, match=f"{name} must be .* one class .*; use per_label"):
            getattr(evaluation, name)
    with pytest.raises(AttributeError, match=r"rmse must be read .* of a regression, got a class"):
        _ = evaluation.rmse


def test_a_classifier_has_no_metrics_of_labels() -> None:
    evaluation = evaluate(torch.zeros(2, 2), torch.tensor([0, 1]))
    assert evaluation.task == "classification"
    for name in ("exact_match", "per_label"):
        with pytest.raises(AttributeError, match=f"{name} must be .* with several labels"):
            getattr(evaluation, name)


def test_every_task_is_plain_json() -> None:
    labels, targets = MultilabelAccumulator(), RegressionAccumulator()
    labels.update(torch.zeros(3, 2), torch.ones(3, 2))
    targets.update(torch.zeros(3, 2), torch.ones(3, 2))
    for metrics, name in ((labels, "multilabel"), (targets, "regression")):
        evaluation = metrics.compute()
        again = json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))
        assert again["num_examples"] == 3
        assert again["classification"] is None
        whole = getattr(evaluation, name)
        assert again[name] == json.loads(json.dumps(_serialization.to_dict(whole)))
        assert len(again[name]["per_label" if name == "multilabel" else "per_target"]) == 2


def test_the_repr_is_one_line_however_many_classes() -> None:
    """The classes are counted; print shows each of them."""
    evaluation = evaluate(torch.eye(1000) * 50.0, torch.arange(1000))
    assert repr(evaluation) == (
        "Evaluation(loss=0.0000, num_examples=1000, accuracy=1.0000, "
        "calibration_error=0.0000, num_classes=1000)"
    )
    assert len(str(evaluation).splitlines()) == 1002


def test_another_loss_of_a_classifier_is_shown() -> None:
    plain = evaluate(torch.zeros(2, 2), torch.tensor([0, 1]))
    evaluation = Evaluation(
        loss=plain.loss,
        num_examples=2,
        classification=plain.classification,
        objective_loss=1.25,
    )
    assert "objective_loss=1.2500" in repr(evaluation)
    assert "objective" not in repr(plain)
    assert str(evaluation).splitlines()[0] == (
        "loss 0.6931 on 2 examples, objective 1.2500, accuracy 50.00%, error 50.00%, "
        "calibration error 0.00%"
    )
    assert evaluation.to_dict()["objective_loss"] == 1.25


def test_notebooks_show_the_line_and_the_table() -> None:
    """The numbers are those of the text; names are escaped."""
    classes, labels = ClassificationAccumulator(["<script>", "b"]), MultilabelAccumulator()
    targets, losses = RegressionAccumulator(["width", "a & b"]), LossAccumulator()
    classes.update(torch.tensor([[9.0, 0.0], [9.0, 0.0]]), torch.tensor([0, 1]))
    labels.update(torch.zeros(3, 2), torch.ones(3, 2))
    targets.update(torch.zeros(4, 2), torch.ones(4, 2))
    losses.update(torch.full((9,), 0.25))
    for metrics in (classes, labels, targets, losses):
        evaluation = metrics.compute()
        first, *lines = str(evaluation).splitlines()
        html = evaluation._repr_html_()
        assert html.startswith(f"<p>{first}</p>")
        cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in html.split("<tr>")[1:]]
        assert [[unescape(cell) for cell in row] for row in cells] == [
            re.split(r"\s{2,}", line.strip()) for line in lines
        ]
        assert "<script" not in html
    assert evaluate(torch.eye(1000), torch.arange(1000))._repr_html_().count("<tr>") == 32
