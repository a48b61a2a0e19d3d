"""The sections about calibration: a reliability diagram and its table."""

from __future__ import annotations

from dataclasses import dataclass

from mlpkit.plots import Reliability, ReliabilityBin
from mlpkit.report._charts import Line, line_chart
from mlpkit.report._sections import section, table

__all__ = ["CalibrationWords", "calibration_sections"]

_NUM_ERROR_BINS = 15  # of the metric; the diagram has fewer bins, with more examples in each


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationWords:
    """The words of a diagram.

    Attributes:
        confidence: What the probability is that of.
        outcome: What happened to a fraction of the predictions.
        count: What is counted.
    """

    confidence: str
    outcome: str
    count: str


def calibration_sections(measured: Reliability, words: CalibrationWords, note: str) -> str:
    """Return the reliability diagram, with a note at the end of its legend, and its table."""
    outcome = words.outcome.capitalize()
    chart = line_chart(
        [
            Line(label="", points=[(0, 0), (100, 100)], style="ideal"),
            Line(
                label="measured",
                points=[(100 * b.confidence, 100 * b.accuracy) for b in measured.bins],
                style="first",
                intervals=[(100 * b.interval[0], 100 * b.interval[1]) for b in measured.bins],
                opacities=[b.opacity for b in measured.bins],
            ),
        ],
        title=f"{outcome} against the {words.confidence}",
        x_label=f"{words.confidence} [%]",
        y_label=f"{words.outcome} [%]",
        x_range=(0, 100),
        y_range=(0, 100),
    )
    few = (
        f" Points of fewer than {ReliabilityBin.full_count} {words.count} are pale: the fewer, the "
        "paler."
        if any(b.count < b.full_count for b in measured.bins)
        else ""
    )
    legend = (
        '<p class="legend">A perfectly calibrated classifier is on the dashed line. Bars: 95 % '
        f"confidence intervals.{few} The calibration error at the top is the mean distance of the "
        f"bins from the dashed line, weighted by their {words.count}, with {_NUM_ERROR_BINS} bins."
        f"{note}</p>"
    )
    rows = (
        f"<tr><td>{100 * b.lower:.0f} to {100 * b.upper:.0f} %</td><td>{b.count:,}</td>"
        f"<td>{100 * b.confidence:.1f} %</td><td>{100 * b.accuracy:.1f} %</td></tr>"
        for b in measured.bins
    )
    names = ("confidence", words.count, "mean", words.outcome)
    content = table("".join(f"<th>{name}</th>" for name in names), rows)
    content += f'<p class="legend">Confidence: the {words.confidence}.</p>'
    return section("Calibration", chart + legend, wide=False) + section(
        f"{outcome} by confidence", content, wide=False
    )
