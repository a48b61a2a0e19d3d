"""Small tables as HTML: escaped, without colors, shortened."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from mlpkit import _html


def parsed(html: str) -> list[list[str]]:
    """Return the text of the cells of each row of a table."""
    return [["".join(cell.itertext()) for cell in row] for row in ET.fromstring(html).iter("tr")]  # noqa: S314 - written by this package


def test_headings_and_rows() -> None:
    html = _html.table(("a", "b"), [("x", "1"), ("y", "2")])
    assert parsed(html) == [["a", "b"], ["x", "1"], ["y", "2"]]
    assert html.count("text-align: left") == 3  # the first column
    assert parsed(_html.table((), [("x", "1")])) == [["x", "1"]]


def test_all_text_is_escaped() -> None:
    attack = "<script>alert('a & b')</script>"
    html = _html.table((attack,), [(attack,)], caption=attack)
    assert "<script" not in html
    assert parsed(html.partition("</p>")[2]) == [[attack], [attack]]


def test_it_has_no_color() -> None:
    """A notebook may be light or dark."""
    assert "color" not in _html.table(("a",), [("1",)] * 40, caption="metrics")


def test_without_rows_there_is_no_table() -> None:
    assert _html.table(("a",), [], caption="none & nothing") == "<p>none &amp; nothing</p>"


@pytest.mark.parametrize(("number", "hidden"), [(30, None), (31, "1 more row"), (5000, "4,970")])
def test_a_long_table_is_shortened(number: int, hidden: str | None) -> None:
    rows = parsed(_html.table(("n", "m"), [(str(n), "") for n in range(number)]))[1:]
    if hidden is None:
        assert [row[0] for row in rows] == [str(n) for n in range(number)]
        return
    assert [row[0] for row in rows[:10]] == [str(n) for n in range(10)]
    assert hidden in rows[10][0]
    assert [row[0] for row in rows[11:]] == [str(n) for n in range(number - 20, number)]
