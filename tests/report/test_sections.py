"""The shared parts of a page."""

from __future__ import annotations

import base64
import io
import re

import pytest
from PIL import Image

from mlpkit.report._sections import (
    Column,
    class_table,
    format_number,
    format_percent,
    key_legend,
    png_url,
    section,
    table,
)
from mlpkit.training.metrics import ClassMetrics


def test_texts_are_escaped() -> None:
    """Titles, labels and cells cannot add markup; content is HTML already."""
    assert section("<a>", "<p>b</p>") == (
        '<section class="wide"><h2>&lt;a&gt;</h2><p>b</p></section>'
    )
    assert section("a", "", wide=False).startswith('<section class="half">')
    assert key_legend([("<a>", "first")]) == (
        '<p class="legend"><span class="key first">&lt;a&gt;</span></p>'
    )
    metrics = [ClassMetrics(name="<c>", precision=1.0, recall=0.5, f1=2 / 3, support=1234)]
    text = class_table("class", metrics, [Column(name="<d>", cells=("<e>",))])
    assert not re.findall(r"<[cde]>", text)


def test_the_cells_of_the_class_table() -> None:
    """More color means a lower value; more columns are on the right, spare ones marked."""
    metrics = [
        ClassMetrics(name="a", precision=1.0, recall=0.5, f1=0.75, support=1234),
        ClassMetrics(name="b", precision=0.9, recall=0.8, f1=0.7, support=5),
    ]
    columns = [
        Column(name="area", cells=("0.1", "0.2")),
        Column(name="more", cells=("x", "y"), is_spare=True),
    ]
    text = class_table("label", metrics, columns)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in text.split("<tr>")[1:]]
    assert cells == [
        ["label", "precision", "recall", "F1", "examples", "area", "more"],
        ["a", "100.0 %", "50.0 %", "75.0 %", "1,234", "0.1", "x"],
        ["b", "90.0 %", "80.0 %", "70.0 %", "5", "0.2", "y"],
    ]
    assert re.findall('--share:([^"]+)', text)[:3] == ["0.000", "1.000", "0.500"]
    assert text.count('class="spare"') == 3
    assert "full color at 50.0 %" in text
    assert "of the examples that have the label, the fraction predicted to have it" in text
    perfect = [ClassMetrics(name="a", precision=1.0, recall=1.0, f1=1.0, support=9)]
    assert "color" not in class_table("label", perfect).replace("--share", "")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, "0"), (12.3456, "12.35"), (-9999.4, "-9,999"), (123456.7, "123,457"), (2e12, "2e+12")],
)
def test_numbers(value: float, expected: str) -> None:
    """There are four significant digits, and no exponent up to a billion."""
    assert format_number(value) == expected


def test_percentages() -> None:
    """A fraction below 1 is never rounded to 100 %."""
    assert format_percent(0.123) == "12.3 %"
    assert format_percent(0.99999) == "&gt;99.9 %"


def test_tables_scroll() -> None:
    """The table is in a box that scrolls."""
    assert table("<th>a</th>", ["<tr><td>1</td></tr>"]) == (
        '<div class="scroll"><table class="classes"><tr><th>a</th></tr><tr><td>1</td></tr>'
        "</table></div>"
    )


def test_the_url_of_an_image() -> None:
    """The URL has all pixels."""
    image = Image.new("L", (3, 2), 77)
    head, _, data = png_url(image).partition(",")
    assert head == "data:image/png;base64"
    found = Image.open(io.BytesIO(base64.b64decode(data)))
    assert found.tobytes() == image.tobytes()
