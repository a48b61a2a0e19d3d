"""SVG charts: the positions of points and ticks."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from mlpkit.report._charts import Line, line_chart, ticks

SVG = "{http://www.w3.org/2000/svg}"


def parsed(text: str) -> ET.Element:
    """Parse a chart as XML, which raises if it is not well-formed."""
    return ET.fromstring(text.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))  # noqa: S314 - trusted


def positions(chart: ET.Element) -> list[tuple[float, float]]:
    """Return the points of the only line."""
    (line,) = chart.iter(f"{SVG}polyline")
    pairs = [pair.split(",") for pair in line.attrib["points"].split()]
    return [(float(x), float(y)) for x, y in pairs]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 100, [0, 20, 40, 60, 80, 100]),
        (1, 12, [2, 4, 6, 8, 10, 12]),
        (0, 0.3, [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]),
        (7, 7, [7]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    """Ticks are 1, 2 or 5 times a power of ten apart, in the range, without rounding errors."""
    assert ticks(low, high) == expected


def test_points_are_at_the_positions_of_the_ticks() -> None:
    """A point with the values of two ticks has their pixel coordinates."""
    line = Line(label="a", points=[(0, 0), (20, 60), (100, 100)], style="first")
    chart = parsed(
        line_chart([line], title="t", x_label="x", y_label="y", x_range=(0, 100), y_range=(0, 100))
    )
    texts = list(chart.iter(f"{SVG}text"))
    x = {t.text: float(t.attrib["x"]) for t in texts if t.attrib["class"] == "mid"}
    y = {t.text: float(t.attrib["y"]) - 4 for t in texts if t.attrib["class"] == "end"}
    for found, (at_x, at_y) in zip(
        positions(chart), (("0", "0"), ("20", "60"), ("100", "100")), strict=True
    ):
        assert found == pytest.approx((x[at_x], y[at_y]), abs=0.11)


def test_a_logarithmic_axis_has_equal_steps_for_equal_ratios() -> None:
    """1, 10 and 100 are at equal distances."""
    line = Line(label="a", points=[(1, 1), (2, 10), (3, 100)], style="first")
    chart = parsed(line_chart([line], title="t", x_label="x", y_label="y", log=True))
    (_, first), (_, second), (_, third) = positions(chart)
    assert first - second == pytest.approx(second - third, abs=0.2)
    assert first > second


def test_text_is_escaped_and_epochs_are_whole_numbers() -> None:
    """Labels cannot add markup; there is no tick at epoch 1.5; a single point gets a dot."""
    text = line_chart(
        [Line(label="", points=[(1, 1.0)], style="first")],
        title="<b>", x_label="a & b", y_label="<i>", whole_x=True,
    )  # fmt: skip
    assert "<b>" not in text
    assert "<i>" not in text
    assert len(list(parsed(text).iter(f"{SVG}circle"))) == 1
    assert not re.search(r'class="mid">\d+\.\d', text)
