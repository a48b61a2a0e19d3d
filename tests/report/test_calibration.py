"""The reliability diagram of a page."""

from __future__ import annotations

import inspect
import re

import torch

from mlpkit.plots import reliability
from mlpkit.report._calibration import CalibrationWords, calibration_sections
from mlpkit.training.metrics import ClassificationAccumulator, MultilabelAccumulator


def test_the_table_has_the_bins() -> None:
    """Each bin is a row; the words name the axes, the columns and the titles."""
    probabilities = torch.tensor([0.05, 0.95, 0.96, 0.97])
    measured = reliability(probabilities, torch.tensor([0.0, 1.0, 1.0, 0.0]), num_bins=10)
    words = CalibrationWords(confidence="chance", outcome="successes", count="trials")
    text = calibration_sections(measured, words, " <i>note</i>")
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in text.split("<tr>")[2:]]
    assert rows == [
        ["0 to 10 %", "1", "5.0 %", "0.0 %"],
        ["90 to 100 %", "3", "96.0 %", "66.7 %"],
    ]
    assert re.findall("<h2>(.*?)</h2>", text) == ["Calibration", "Successes by confidence"]
    assert ">chance [%]</text>" in text
    assert ">successes [%]</text>" in text
    assert "<th>trials</th>" in text
    assert "with 15 bins. <i>note</i></p>" in text
    assert text.count('class="whisker first"') == 2


def test_bins_with_few_predictions_fade() -> None:
    """Bar, point and segments of a bin have its opacity, and the caption states the rule."""
    probabilities = torch.tensor([0.05] * 30 + [0.55] * 15 + [0.95])
    measured = reliability(probabilities, torch.zeros(46), num_bins=10)
    words = CalibrationWords(confidence="chance", outcome="successes", count="trials")
    text = calibration_sections(measured, words, "")
    for shape in ("path", "circle"):
        marks = re.findall(f'<{shape} class="(?:whisker|dot) first"( opacity="[0-9.]+")?', text)
        assert marks == ["", ' opacity="0.50"', ' opacity="0.30"']
    assert re.findall('<polyline class="line first" opacity="([0-9.]+)"', text) == ["0.50", "0.30"]
    assert "Points of fewer than 30 trials are pale: the fewer, the paler." in text
    many = reliability(probabilities[:30], torch.zeros(30), num_bins=10)
    assert "pale" not in calibration_sections(many, words, "")


def test_the_caption_names_the_bins_of_the_calibration_error() -> None:
    """The evaluation of a model has as many bins as the caption says."""
    for metrics in (ClassificationAccumulator, MultilabelAccumulator):
        assert inspect.signature(metrics).parameters["num_bins"].default == 15
