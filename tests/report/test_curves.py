"""The sections about the history."""

from __future__ import annotations

import dataclasses
import re

import pytest
from tests.report.histories import falling_history

from mlpkit.report._curves import curve_sections
from mlpkit.training import EpochRow, History


def styles(text: str) -> list[str]:
    """Return the styles of the lines of the first chart."""
    chart = text[: text.index("</svg>")]
    return re.findall(r'<polyline class="line (\w+)"', chart)


def test_a_history_without_epochs_has_no_section() -> None:
    """There is nothing to plot."""
    assert curve_sections(History(), loss_label="loss") == ""


def test_validation_adds_lines_and_a_section() -> None:
    """Without validation there is one line; with it two and the lowest error."""
    rows = [
        EpochRow(epoch=e, step=e, lr=0.1, train_loss=2.0**-e, seconds=1, examples_per_second=1)
        for e in range(3)
    ]
    text = curve_sections(History(rows), loss_label="loss [m]")
    assert styles(text) == ["second"]
    assert text.count("<h2>") == 1
    assert ">loss [m]</text>" in text
    text = curve_sections(falling_history(3, seconds=1.0), loss_label="loss")
    assert styles(text) == ["second", "first"]
    assert "Lowest error: 3.33 % in epoch 3." in text
    assert "smoothed" not in text
    assert text.count('class="legend"') == 2
    noted = curve_sections(falling_history(3, seconds=1.0), loss_label="loss", loss_note="note")
    assert noted.replace('<p class="legend">note</p>', "") == text


def test_another_training_loss_is_explained() -> None:
    """The objective on the validation data is a third line, with a note."""
    rows = [
        dataclasses.replace(row, val_objective_loss=0.5) for row in falling_history(3, seconds=1.0)
    ]
    text = curve_sections(History(rows), loss_label="loss [nats]")
    assert styles(text) == ["second", "third", "first"]
    assert "a classifier is trained on smoothed labels" in text


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_losses_may_be_negative(sign: float) -> None:
    """The density of a normal distribution may be above 1; every point is within the chart."""
    rows = [
        EpochRow(epoch=e, step=e, lr=0.1, train_loss=sign - e, seconds=1, examples_per_second=1)
        for e in range(3)
    ]
    text = curve_sections(History(rows), loss_label="loss")
    (points,) = re.findall(r'points="([^"]+)"', text)
    assert all(12 <= float(pair.split(",")[1]) <= 254 for pair in points.split())
