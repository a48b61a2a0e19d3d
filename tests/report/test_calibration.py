"""The reliability diagram of a page."""

from __future__ import annotations

import re

import torch

from mlpkit.plots import reliability
from mlpkit.report._calibration import CalibrationWords, calibration_sections


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
    assert "confidence intervals. <i>note</i></p>" in text
    assert text.count('class="whisker first"') == 2
