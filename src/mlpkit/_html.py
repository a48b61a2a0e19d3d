"""Small tables as HTML, as notebooks display them."""

from __future__ import annotations

import html
from collections.abc import Sequence

__all__ = ["table"]

_NUM_FIRST, _NUM_LAST = 10, 20  # rows that are shown of a longer table


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str = "", left: int = 1
) -> str:
    """Return a table as HTML; it inherits colors and font, so it suits a light and a dark page.

    Of more than 30 rows the first 10 and the last 20 are shown.

    Args:
        head: Text of each heading; empty for a table without headings.
        rows: Text of the cells of each row; all text is escaped.
        caption: Text above the table.
        left: Number of columns that are left-aligned; the others are right-aligned.
    """
    num_hidden = len(rows) - _NUM_FIRST - _NUM_LAST
    if num_hidden <= 0:
        lines = [_row("td", cells, left) for cells in rows]
    else:
        lines = [_row("td", cells, left) for cells in rows[:_NUM_FIRST]]
        text = f"… {num_hidden:,} more {'row' if num_hidden == 1 else 'rows'} …"
        columns = len(rows[0])
        lines.append(f'<tr><td colspan="{columns}" style="text-align: center">{text}</td></tr>')
        lines += [_row("td", cells, left) for cells in rows[-_NUM_LAST:]]
    # "p" instead of "caption": the notebooks give captions another color and size
    above = f"<p>{html.escape(caption)}</p>" if caption else ""
    if not rows:
        return above
    top = f"<thead>{_row('th', head, left)}</thead>" if head else ""
    body = "".join(lines)
    return f'{above}<table style="text-align: right">{top}<tbody>{body}</tbody></table>'


def _row(tag: str, cells: Sequence[str], left: int) -> str:
    styles = [' style="text-align: left"' if column < left else "" for column in range(len(cells))]
    text = "".join(
        f"<{tag}{style}>{html.escape(cell)}</{tag}>"
        for cell, style in zip(cells, styles, strict=True)
    )
    return f"<tr>{text}</tr>"
