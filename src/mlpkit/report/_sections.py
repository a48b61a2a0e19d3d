"""The parts of a page that all kinds of models share: sections, legends, tables, numbers."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlpkit.training.metrics import ClassMetrics

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "Column",
    "Findings",
    "class_table",
    "format_number",
    "format_percent",
    "key_legend",
    "png_url",
    "section",
    "table",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """What a page says about the predictions of a model on the test set.

    Attributes:
        metrics: Name and value of each metric, as HTML.
        sections: The sections, as HTML.
        score: The main metric with its value, for the summary.
        loss_label: Name of the loss with its unit.
        loss_note: What the loss is, for its legend; empty for the cross-entropy.
    """

    metrics: tuple[tuple[str, str], ...]
    sections: tuple[str, ...]
    score: str
    loss_label: str = "loss [nats]"
    loss_note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column that one kind of model adds to the table of its classes.

    Attributes:
        name: The heading.
        cells: The text of each row.
        is_spare: Whether narrow screens omit the column.
    """

    name: str
    cells: tuple[str, ...]
    is_spare: bool = False


def section(title: str, content: str, *, wide: bool = True) -> str:
    """Return a section with a title, which is escaped, and content, which is HTML."""
    kind = "wide" if wide else "half"
    return f'<section class="{kind}"><h2>{html.escape(title)}</h2>{content}</section>'


def key_legend(entries: Iterable[tuple[str, str]]) -> str:
    """Return the legend of a chart: labels, which are escaped, and CSS classes of their lines."""
    items = "".join(
        f'<span class="key {style}">{html.escape(label)}</span>' for label, style in entries
    )
    return f'<p class="legend">{items}</p>'


def table(head: str, rows: Iterable[str]) -> str:
    """Return a table in a box that scrolls; ``head`` are its ``<th>``, ``rows`` its ``<tr>``."""
    content = f'<table class="classes"><tr>{head}</tr>{"".join(rows)}</table>'
    return f'<div class="scroll">{content}</div>'


def format_percent(fraction: float) -> str:
    """Format a fraction in percent; one below 1 is never rounded to 100 %."""
    return "&gt;99.9 %" if fraction > 0.9995 else f"{100 * fraction:.1f} %"


def format_number(value: float) -> str:
    """Format a number with four significant digits, and a large one without an exponent."""
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:,.4g}"


def png_url(image: Image, *, optimize: bool = False) -> str:
    """Return an image as a data URL."""
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=optimize)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def class_table(kind: str, metrics: Sequence[ClassMetrics], columns: Sequence[Column] = ()) -> str:
    """Return a table with precision, recall and F1 of each class or label, and its legend.

    Args:
        kind: Heading of the names.
        metrics: The metrics of each class or label.
        columns: More columns, on the right.
    """
    lowest = min(min(row.precision, row.recall, row.f1) for row in metrics)
    span = (1.0 - lowest) or 1.0
    marks = [' class="spare"' if column.is_spare else "" for column in columns]
    head = "".join(f"<th>{name}</th>" for name in (kind, "precision", "recall", "F1", "examples"))
    head += "".join(
        f"<th{mark}>{html.escape(column.name)}</th>"
        for mark, column in zip(marks, columns, strict=True)
    )
    rows = (
        f'<tr><th scope="row">{html.escape(row.name)}</th>'
        + "".join(
            f'<td class="share" style="--share:{(1 - value) / span:.3f}">{100 * value:.1f} %</td>'
            for value in (row.precision, row.recall, row.f1)
        )
        + f"<td>{row.support:,}</td>"
        + "".join(
            f"<td{mark}>{html.escape(column.cells[index])}</td>"
            for mark, column in zip(marks, columns, strict=True)
        )
        + "</tr>"
        for index, row in enumerate(metrics)
    )
    colors = (
        f" More color means a lower value: no color at 100 %, full color at {100 * lowest:.1f} %."
        if lowest < 1.0
        else ""
    )
    legend = (
        f'<p class="legend">Precision: of the examples predicted to have the {kind}, the fraction '
        f"that has it. Recall: of the examples that have the {kind}, the fraction predicted to "
        f"have it. F1: the harmonic mean of the two.{colors}</p>"
    )
    return table(head, rows) + legend
