"""SVG charts: the positions of points and ticks."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from mlpkit.report._charts import Line, histogram, line_chart, ticks

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


def test_dots_and_areas() -> None:
    """Dots are circles without a line, an area is a polygon; both have the style of the line."""
    dots = Line(label="", points=[(1, 2), (3, 4)], style="first", shape="dots")
    area = Line(label="", points=[(1, 2), (3, 4)], style="second", shape="area")
    chart = parsed(line_chart([dots, area], title="t", x_label="x", y_label="y"))
    (group,) = (g for g in chart.iter(f"{SVG}g") if g.attrib["class"] == "dots first")
    (polygon,) = chart.iter(f"{SVG}polygon")
    assert polygon.attrib["class"] == "area second"
    assert not list(chart.iter(f"{SVG}polyline"))
    circles = [f"{circle.attrib['cx']},{circle.attrib['cy']}" for circle in group]
    assert circles == polygon.attrib["points"].split()


def test_the_outline_of_a_histogram() -> None:
    """Oracle: the counts of NumPy; the outline begins and ends at 0."""
    generator = np.random.default_rng(0)
    values = generator.normal(size=300)
    outline = histogram(values.tolist(), (-5.0, 5.0))
    counts, edges = np.histogram(values, bins=17, range=(-5.0, 5.0))
    assert outline[0] == (-5.0, 0.0)
    assert outline[-1] == (5.0, 0.0)
    np.testing.assert_allclose([x for x, _ in outline[1:-1:2]], edges[:-1])
    np.testing.assert_allclose([x for x, _ in outline[2:-1:2]], edges[1:])
    np.testing.assert_array_equal([y for _, y in outline[1:-1:2]], counts)
    assert histogram([5.0], (-5.0, 5.0))[-2] == (5.0, 1.0)


@pytest.mark.parametrize(
    ("high", "expected"),
    [
        (300_000.0, ["0", "50,000", "100,000", "150,000", "200,000", "250,000", "300,000"]),
        (0.0006, ["0", "1e-4", "2e-4", "3e-4", "4e-4", "5e-4", "6e-4"]),
    ],
)
def test_labels_of_the_y_axis(high: float, expected: list[str]) -> None:
    """Large numbers have separators, and the axis moves to the right; none is cut."""
    line = Line(label="", points=[(0, 0), (1, high)], style="first")
    text = line_chart([line], title="t", x_label="x", y_label="y", y_range=(0, high))
    labels = [t for t in parsed(text).iter(f"{SVG}text") if t.attrib["class"] == "end"]
    assert [t.text for t in labels] == expected
    assert all(float(t.attrib["x"]) - 7.5 * len(t.text or "") > 26 for t in labels)


@pytest.mark.parametrize(("low", "high"), [(0, 100), (350_000, 450_000), (0, 0.0006), (-7, 9e5)])
@pytest.mark.parametrize("small", [False, True])
def test_labels_of_the_x_axis_do_not_touch(low: float, high: float, small: bool) -> None:
    """Long labels are fewer; each stays within the chart. A character is 7.5 pixels wide."""
    line = Line(label="", points=[(low, 0), (high, 1)], style="first")
    text = line_chart([line], title="t", x_label="x", y_label="y", small=small)
    chart = parsed(text)
    labels = [t for t in chart.iter(f"{SVG}text") if t.attrib["class"] == "mid"]
    assert len(labels) >= 2
    spans = [
        (float(t.attrib["x"]) - 3.75 * len(t.text or ""), 7.5 * len(t.text or "")) for t in labels
    ]
    ends = [start + width for start, width in spans]
    assert all(start > end for (start, _), end in zip(spans[1:], ends, strict=False))
    assert ends[-1] <= float(chart.attrib["viewBox"].split()[2])


def test_labels_of_a_narrow_range_differ() -> None:
    """Numbers with a large offset have all the digits in which they differ."""
    line = Line(label="", points=[(2e7, 2e7), (2e7 + 4, 2e7 + 4)], style="first")
    bounds = (2e7, 2e7 + 4)
    text = line_chart(
        [line], title="t", x_label="x", y_label="y", x_range=bounds, y_range=bounds, whole_y=True
    )
    labels = re.findall(r'class="end">([^<]+)<', text)
    assert labels == [str(20_000_000 + index) for index in range(5)]


def test_a_single_point_is_in_the_middle() -> None:
    """It is not on the axis, and has the only label."""
    line = Line(label="", points=[(1, 1.0)], style="first")
    text = line_chart([line], title="t", x_label="x", y_label="y", whole_x=True)
    (circle,) = parsed(text).iter(f"{SVG}circle")
    labels = [t for t in parsed(text).iter(f"{SVG}text") if t.attrib["class"] == "mid"]
    assert [t.text for t in labels] == ["1"]
    assert circle.attrib["cx"] == labels[0].attrib["x"]
    assert 250 < float(circle.attrib["cx"]) < 350


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
