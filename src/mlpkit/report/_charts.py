"""Charts as SVG; the style sheet of the page sets their colors for light and dark mode."""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["Line", "histogram", "line_chart", "ticks"]

_SIZE, _SMALL_SIZE = (520, 300), (350, 250)
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 12, 46


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line of a chart, or points, or the area below a line.

    Attributes:
        label: The label in the legend.
        points: The points of the line.
        style: The CSS class of the line.
        intervals: A vertical interval per point, or none.
        rank: The position of the line among several of the same style, from 0 to 1.
        shape: How the points are drawn: connected, as separate dots, or as the area below them.
        opacities: The opacity of each point of a connected line with intervals; empty for 1. A
            segment has the lower one of its ends.
    """

    label: str
    points: Sequence[tuple[float, float]]
    style: str
    intervals: Sequence[tuple[float, float]] = ()
    rank: float | None = None
    shape: Literal["line", "dots", "area"] = "line"
    opacities: Sequence[float] = ()

    @property
    def color(self) -> str:
        """The style attribute from which CSS computes the color; empty without a rank."""
        return "" if self.rank is None else f' style="--rank:{self.rank:.3g}"'


def ticks(low: float, high: float, *, max_intervals: int = 6) -> list[float]:
    """Return the multiples in [low, high] of a step that is 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    raw = (high - low) / max_intervals
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def histogram(values: Sequence[float], limits: tuple[float, float]) -> list[tuple[float, float]]:
    """Return the outline of a histogram of values within limits: the counts in equal intervals."""
    low, high = limits
    bins = min(40, max(5, math.isqrt(len(values))))
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, int((value - low) / (high - low) * bins))] += 1
    edges = [low + index / bins * (high - low) for index in range(bins + 1)]
    corners = [
        (edge, float(count))
        for index, count in enumerate(counts)
        for edge in (edges[index], edges[index + 1])
    ]
    return [(low, 0.0), *corners, (high, 0.0)]


def _tick(value: float) -> str:
    """Format a tick in few characters: 0.5, 0.005, 5e-4, 250,000."""
    if 0 < abs(value) < 1e-3:
        return f"{value:.0e}".replace("e-0", "e-")
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e7 else f"{value:,g}"


def _labels(values: Sequence[float]) -> list[str]:
    """Return the labels of ticks; they have more digits if they would be equal otherwise."""
    found = [_tick(value) for value in values]
    return found if len(set(found)) == len(found) else [f"{value:.12g}" for value in values]


def _log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times the powers of ten in a range; in a wide range only the powers."""
    factors = (1,) if high / low > 1e3 else (1, 2, 5)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = (float(f"{factor * 10.0**power:.12g}") for power in powers for factor in factors)
    return [value for value in found if low <= value <= high]


def _x_axis(
    low: float, high: float, length: float, *, whole: bool
) -> tuple[list[float], list[str]]:
    """Return ticks and labels that have space on an axis of this length in pixels."""
    values = [x for x in ticks(low, high) if not whole or x == int(x)]
    labels = _labels(values)
    if len(values) < 2:
        return values, labels
    step = (values[1] - values[0]) / (high - low) * length
    stride = math.ceil((8 * max(map(len, labels)) + 8) / step)
    return values[::stride], labels[::stride]


def line_chart(
    lines: Sequence[Line],
    *,
    title: str,
    x_label: str,
    y_label: str,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    log: bool = False,
    whole_x: bool = False,
    whole_y: bool = False,
    small: bool = False,
) -> str:
    """Return an SVG element with axes, grid and lines.

    Args:
        lines: The lines, with at least one point in total.
        title: The accessible name of the chart.
        x_label: Label of the x axis, with its unit.
        y_label: Label of the y axis, with its unit.
        x_range: Limits of the x axis; None fits the points.
        y_range: Limits of the y axis; None fits the points, and a linear axis starts at 0.
        log: Whether the y axis is logarithmic; all values must be positive.
        whole_x: Whether only whole numbers are labeled on the x axis.
        whole_y: Whether only whole numbers are labeled on the y axis.
        small: Whether the chart is one of three in a row; it then keeps the size of its text.
    """
    width, height = _SMALL_SIZE if small else _SIZE
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points]
    x_low, x_high = x_range or (min(xs), max(xs))
    if x_low == x_high:  # a single point is in the middle
        x_low, x_high = x_low - 0.5, x_high + 0.5
    y_low, y_high = y_range or ((min(ys) / 1.1, max(ys) * 1.1) if log else (0.0, 1.05 * max(ys)))
    y_high = y_high if y_high > y_low else y_low + 1.0
    y_ticks = _log_ticks(y_low, y_high) if log else ticks(y_low, y_high)
    y_ticks = [y for y in y_ticks if not whole_y or y == int(y)]
    y_labels = _labels(y_ticks)
    left = max(_LEFT, 34 + 8 * max(map(len, y_labels), default=0))
    x_ticks, x_labels = _x_axis(x_low, x_high, width - left - _RIGHT, whole=whole_x)
    right = width - max(_RIGHT, 4 * max(map(len, x_labels), default=0))  # half of the last label

    def px(x: float) -> float:
        return left + (x - x_low) / (x_high - x_low) * (right - left)

    def py(y: float) -> float:
        share = (
            math.log(y / y_low) / math.log(y_high / y_low)
            if log
            else (y - y_low) / (y_high - y_low)
        )
        return height - _BOTTOM - share * (height - _TOP - _BOTTOM)

    bottom = height - _BOTTOM
    parts = [
        f'<svg viewBox="0 0 {width} {height}" class="{"small" if small else "large"}" role="img"'
        f' aria-label="{html.escape(title)}">',
        f"<title>{html.escape(title)}</title>",
    ]
    for y, label in zip(y_ticks, y_labels, strict=True):
        parts.append(f'<path class="grid" d="M{left} {py(y):.1f}H{right}"/>')
        parts.append(f'<text x="{left - 7}" y="{py(y) + 4:.1f}" class="end">{label}</text>')
    parts += [
        f'<text x="{px(x):.1f}" y="{bottom + 18}" class="mid">{label}</text>'
        for x, label in zip(x_ticks, x_labels, strict=True)
    ]
    middle = (_TOP + bottom) / 2
    parts += [
        f'<path class="axis" d="M{left} {_TOP}V{bottom}H{right}"/>',
        f'<text x="{(left + right) / 2}" y="{height - 8}" class="mid name">'
        f"{html.escape(x_label)}</text>",
        f'<text x="20" y="{middle}" class="mid name" transform="rotate(-90 20 {middle})">'
        f"{html.escape(y_label)}</text>",
    ]
    for line in lines:
        pixels = [(px(x), py(y)) for x, y in line.points]
        opacities = line.opacities or [1.0] * len(pixels)
        for (x, _), (low, high), opacity in zip(
            pixels, line.intervals, opacities, strict=bool(line.intervals)
        ):
            path = f"M{x:.1f} {py(low):.1f}V{py(high):.1f}"
            parts.append(f'<path class="whisker {line.style}"{_opacity(opacity)} d="{path}"/>')
        if line.shape == "dots":
            dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in pixels)
            parts.append(f'<g class="dots {line.style}">{dots}</g>')
            continue
        tag = "polyline" if line.shape == "line" else "polygon"
        for piece, opacity in _pieces(pixels, line.opacities):
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in piece)
            parts.append(
                f'<{tag} class="{line.shape} {line.style}"{line.color}{_opacity(opacity)}'
                f' points="{points}"/>'
            )
        if len(pixels) == 1 or line.intervals:
            parts += [
                f'<circle class="dot {line.style}"{line.color}{_opacity(opacity)}'
                f' cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
                for (x, y), opacity in zip(pixels, opacities, strict=True)
            ]
    return "".join([*parts, "</svg>"])


def _pieces(
    pixels: Sequence[tuple[float, float]], opacities: Sequence[float]
) -> list[tuple[Sequence[tuple[float, float]], float]]:
    """Return the parts of a line that have one opacity: all of it without opacities."""
    if not opacities:
        return [(pixels, 1.0)]
    segments = itertools.pairwise(zip(pixels, opacities, strict=True))
    return [((start, end), min(first, last)) for (start, first), (end, last) in segments]


def _opacity(value: float) -> str:
    """Return the attribute, empty for 1; a group opacity, which dashes and colors do not change."""
    return "" if value == 1.0 else f' opacity="{value:.2f}"'
