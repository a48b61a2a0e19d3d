"""Results of an evaluation: what they print, show and give as JSON."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

from mlpkit.training import Evaluation
from mlpkit.training.metrics import ClassificationAccumulator, RegressionAccumulator


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


def test_a_regression_has_a_loss_only() -> None:
    metrics = RegressionAccumulator()
    metrics.update(torch.zeros(9, 2), torch.full((9, 2), 0.5))
    evaluation = metrics.compute()
    assert str(evaluation) == "loss 0.2500 on 9 examples"
    assert repr(evaluation) == "Evaluation(loss=0.2500, num_examples=9)"
    for name in ("accuracy", "error", "confusion", "per_class", "calibration_error"):
        with pytest.raises(
            AttributeError, match=f"{name} must be read from the evaluation of a classifier"
        ):
            getattr(evaluation, name)


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
