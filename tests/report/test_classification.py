"""The findings about a classifier with one class for each example."""

from __future__ import annotations

import pytest
import torch

from mlpkit import SoftmaxClassifier
from mlpkit.data import LabeledTensors, digits
from mlpkit.report._classification import classification_findings


def test_the_fitted_temperature_is_named() -> None:
    """The legend of the calibration has the temperature unless it is 1."""
    _, val, test = digits()
    assert val is not None
    model = SoftmaxClassifier.for_data(test, (8,))
    assert "temperature" not in classification_findings(model, test).sections[-1]
    model.calibrate(val)
    text = classification_findings(model, test).sections[-1]
    assert f"The temperature of the softmax is {float(model.temperature):.2f}." in text


def test_a_perfect_classifier_has_no_mistakes() -> None:
    """A sentence replaces the images."""
    inputs = digits().test.inputs
    model = SoftmaxClassifier.for_data(digits().test, (8,))
    perfect = LabeledTensors(inputs, model.predict(inputs), model.classes)
    findings = classification_findings(model, perfect)
    assert "<p>No mistakes in 360 examples.</p>" in findings.sections[2]
    assert findings.metrics[0] == ("test accuracy", "100.00 %")


def test_soft_targets_raise() -> None:
    """The report needs class indices."""
    model = SoftmaxClassifier.for_data(digits().test, (8,))
    soft = LabeledTensors(digits().test.inputs[:4], torch.full((4, 10), 0.1))
    with pytest.raises(TypeError, match=r"targets of run\.test must be class indices"):
        classification_findings(model, soft)
