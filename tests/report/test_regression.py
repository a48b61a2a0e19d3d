"""The findings about a regressor."""

from __future__ import annotations

import importlib
import math
import re

import pytest
import torch
from tests.report.kinds import regression_example

from mlpkit.data import LabeledTensors
from mlpkit.nn import MLP
from mlpkit.report._regression import regression_findings
from mlpkit.report._sections import format_number

sklearn_metrics = importlib.import_module("sklearn.metrics")  # it has no types


def cells_of(text: str) -> list[list[str]]:
    """Return the cells of the rows of a table without its head."""
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in text.split("<tr>")[2:]]


def test_the_note_about_the_loss() -> None:
    """The mean of the training targets has the loss 1, as the note says; another loss has none."""
    model, train = regression_example()
    with torch.no_grad():
        assert isinstance(model.network, MLP)
        assert model.network.head is not None
        model.network.head.weight.zero_()
        assert model.network.head.bias is not None
        model.network.head.bias.zero_()
    findings = regression_findings(model, train)
    assert dict(findings.metrics)["test loss"] == "1.0000"
    assert "is 1 if the mean of the training set is predicted" in findings.loss_note
    assert regression_findings(*regression_example(predicts_std=True)).loss_note == ""


def test_metrics_and_targets_against_scikit_learn() -> None:
    """Oracle: scikit-learn's errors of the predictions of the model."""
    model, test = regression_example(3)
    findings = regression_findings(model, test)
    true = test.targets.double().numpy()
    predicted = model.predict(test.inputs).double().numpy()
    rmse = math.sqrt(sklearn_metrics.mean_squared_error(true, predicted))
    assert findings.metrics[:3] == (
        ("test RMSE", format_number(rmse)),
        (
            "mean absolute error",
            format_number(sklearn_metrics.mean_absolute_error(true, predicted)),
        ),
        ("R²", f"{sklearn_metrics.r2_score(true, predicted):.4f}"),
    )
    rows = cells_of(findings.sections[0])
    for index, cells in enumerate(rows):
        one, other = true[:, index], predicted[:, index]
        assert cells == [
            f"&lt;target {index}&gt;",
            format_number(math.sqrt(sklearn_metrics.mean_squared_error(one, other))),
            format_number(sklearn_metrics.mean_absolute_error(one, other)),
            f"{sklearn_metrics.r2_score(one, other):.4f}",
            format_number(float(one.mean())),
            format_number(float(one.std())),
        ]
    titles = re.findall("<h2>(.*?)</h2>", "".join(findings.sections))
    predictions = [f"Predictions of &lt;target {index}&gt;" for index in range(3)]
    assert titles == ["Targets", *predictions, "Largest errors"]
    assert findings.loss_label == "loss"


def test_the_largest_errors_are_in_order() -> None:
    """Oracle: the residuals in standard deviations, sorted; with one target there is no name."""
    model, test = regression_example()
    findings = regression_findings(model, test)
    true, predicted = test.targets.double(), model.predict(test.inputs).double()
    scaled = (true - predicted) / float(model.target_std)
    order = sorted(range(120), key=lambda index: -abs(float(scaled[index])))[:10]
    assert cells_of(findings.sections[0]) == [
        [
            str(index),
            format_number(float(true[index])),
            format_number(float(predicted[index])),
            format_number(float(true[index] - predicted[index])),
            f"{float(scaled[index]):.2f}",
        ]
        for index in order
    ]
    titles = re.findall("<h2>(.*?)</h2>", "".join(findings.sections))
    assert titles == ["Largest errors", "Predictions"]


def test_the_charts_have_the_points() -> None:
    """The dots of both charts are affine in the values; the outline has the area of all bars."""
    model, test = regression_example()
    text = regression_findings(model, test).sections[1]
    charts = re.findall(r"<svg.*?</svg>", text)
    assert len(charts) == 3
    true, predicted = test.targets.double(), model.predict(test.inputs).double()
    expected = ((true, predicted), (predicted, true - predicted))
    for chart, (x, y) in zip(charts, expected, strict=False):
        found = torch.tensor(
            [[float(a), float(b)] for a, b in re.findall(r'cx="([^"]+)" cy="([^"]+)"', chart)]
        ).double()
        assert len(found) == 120
        for pixels, values, sign in ((found[:, 0], x, 1), (found[:, 1], y, -1)):
            both = torch.stack([pixels, values])
            assert float(torch.corrcoef(both)[0, 1]) == pytest.approx(sign, abs=1e-5)
    assert "<polygon" in charts[2]


def test_many_examples_and_many_targets_are_limited() -> None:
    """There are at most 1000 dots on a chart, six targets with charts and 50 rows."""
    model, test = regression_example(count=1500)
    text = "".join(regression_findings(model, test).sections)
    assert text.count("<circle") == 2000
    assert "The points are 1,000 of 1,500 test examples." in text
    model, test = regression_example(10, 6)
    findings = regression_findings(model, test)
    assert len(cells_of(findings.sections[0])) == 50
    assert "The other 10 targets are left out." in findings.sections[0]
    assert "".join(findings.sections).count("Predictions of ") == 6


def test_the_predicted_std_is_compared_with_the_errors() -> None:
    """Oracle: the fraction of the errors that are below the predicted standard deviation."""
    model, test = regression_example(2, predicts_std=True)
    findings = regression_findings(model, test)
    inside = (test.targets - model.predict(test.inputs)).abs() <= model.predict_std(test.inputs)
    assert ("within predicted std", f"{100 * float(inside.float().mean()):.1f} %") in (
        findings.metrics
    )
    assert "68.3 %" in findings.sections[1]
    assert "68.3 %" not in "".join(regression_findings(*regression_example(2)).sections)


def test_a_perfect_prediction_of_a_constant_has_charts() -> None:
    """Every axis has a range."""
    model, test = regression_example(count=4)
    torch.nn.init.zeros_(model.network.head.weight)  # type: ignore[union-attr]  # it has a head
    constant = LabeledTensors(test.inputs, model.predict(test.inputs))
    text = "".join(regression_findings(model, constant).sections)
    assert "nan" not in text
    assert "inf" not in text


def test_other_targets_raise() -> None:
    """Class indices and another number of targets raise."""
    model, test = regression_example(2)
    with pytest.raises(TypeError, match=r"targets of run\.test must be floating-point, got torch"):
        regression_findings(model, LabeledTensors(test.inputs, torch.zeros(120).long()))
    with pytest.raises(ValueError, match=r"targets of run\.test must be of shape \(120, 2\), got"):
        regression_findings(model, LabeledTensors(test.inputs, test.targets[:, 0]))
