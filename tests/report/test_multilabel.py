"""The findings about a classifier with several labels for each example."""

from __future__ import annotations

import importlib
import re

import pytest
import torch
from tests.report.kinds import labels_example

from mlpkit.data import LabeledTensors
from mlpkit.report._multilabel import multilabel_findings

sklearn_metrics = importlib.import_module("sklearn.metrics")  # it has no types


def test_metrics_and_labels_against_scikit_learn() -> None:
    """Oracle: scikit-learn's scores of the predictions and probabilities of the model."""
    model, test = labels_example()
    findings = multilabel_findings(model, test)
    true, predicted = test.targets.numpy() > 0.5, model.predict(test.inputs).numpy()
    probabilities = model.predict_proba(test.inputs).numpy()
    metrics = dict(findings.metrics)
    wrong = int((true != predicted).sum())
    assert metrics["accuracy of the labels"] == f"{100 * (1 - wrong / 360):.2f} %"
    assert metrics["wrong labels"] == f"{wrong}<small> of 360</small>"
    exact = sklearn_metrics.accuracy_score(true, predicted)
    assert metrics["exact match"] == f"{100 * exact:.2f} %"
    rows = findings.sections[0].split("<tr>")[2:]
    columns = sklearn_metrics.precision_recall_fscore_support(true, predicted, zero_division=0)
    for index, (row, expected) in enumerate(zip(rows, zip(*columns, strict=True), strict=True)):
        cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)
        auc = sklearn_metrics.roc_auc_score(true[:, index], probabilities[:, index])
        average = sklearn_metrics.average_precision_score(true[:, index], probabilities[:, index])
        assert cells == [
            f"&lt;label {index}&gt;",
            *(f"{100 * share:.1f} %" for share in expected[:3]),
            str(expected[3]),
            ("0.40", "0.50", "0.60")[index],
            f"{auc:.3f}",
            f"{average:.3f}",
        ]
        assert f"&lt;label {index}&gt;, area {auc:.3f}" in findings.sections[1]
        assert f"&lt;label {index}&gt;, area {average:.3f}" in findings.sections[2]
    assert findings.loss_label == "loss [nats]"


def test_the_charts_have_the_corners_of_the_curves() -> None:
    """Two examples: the ROC goes up and then right, precision and recall are steps."""
    model, test = labels_example(1, 2, is_flat=True)
    order = model.predict_proba(test.inputs).argsort()
    targets = torch.empty(2)
    targets[order] = torch.tensor([0.0, 1.0])  # ranked perfectly
    findings = multilabel_findings(model, LabeledTensors(test.inputs, targets))

    def corners(text: str) -> list[tuple[float, float]]:
        (points,) = re.findall(r'"line curve c0" points="([^"]+)"', text)
        pairs = [pair.split(",") for pair in points.split()]
        return [(float(x), float(y)) for x, y in pairs]

    left, right, top, bottom = 70.0, 500.0, 12.0, 254.0
    assert corners(findings.sections[1]) == [(left, bottom), (left, top), (right, top)]
    half = (top + bottom) / 2
    found = corners(findings.sections[2])
    assert found == [(left, top), (right, top), (right, half)]
    assert [name for name, _ in findings.metrics][:2] == ["test accuracy", "test errors"]


def test_of_many_labels_six_have_colors() -> None:
    """The others are gray and counted; an undefined label has neither curve nor area."""
    model, test = labels_example(10)
    targets = test.targets.clone()
    targets[:, 0] = 0.0
    findings = multilabel_findings(model, LabeledTensors(test.inputs, targets, test.classes))
    text = findings.sections[1]
    assert re.findall(r'"line curve (\w+)"', text) == ["other"] * 3 + [f"c{i}" for i in range(6)]
    assert text.count("3 others, area from") == 1
    assert "&lt;label 0&gt;" not in text
    assert findings.sections[0].count('<td class="spare">undefined</td>') == 2
    none = LabeledTensors(test.inputs, torch.zeros_like(targets), test.classes)
    assert "No label is present in some" in multilabel_findings(model, none).sections[1]


def test_fitted_temperatures_are_named() -> None:
    """One temperature, or their range."""
    model, test = labels_example(2)
    assert "temperature" not in multilabel_findings(model, test).sections[3]
    model.temperature.copy_(torch.tensor([2.0, 0.5]))
    assert (
        "The fitted temperature is from 0.50 to 2.00."
        in (multilabel_findings(model, test).sections[3])
    )


def test_other_targets_raise() -> None:
    """Class indices and another number of labels raise."""
    model, test = labels_example()
    with pytest.raises(TypeError, match=r"targets of run\.test must be floating-point labels"):
        multilabel_findings(model, LabeledTensors(test.inputs, test.targets[:, 0].long()))
    with pytest.raises(ValueError, match=r"targets of run\.test must be of shape \(120, 3\), got"):
        multilabel_findings(model, LabeledTensors(test.inputs, test.targets[:, :2]))
