"""Line charts as SVG; the style sheet of the page sets their colors for light and dark mode."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Line", "line_chart", "ticks"]

_SIZE, _SMALL_SIZE = (520, 300), (350, 250)
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 12, 46


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line of a chart.

    Attributes:
        label: The label in the legend.
        points: The points of the line.
        style: The CSS class of the line.
        intervals: A vertical interval per point, or none.
        rank: The position of the line among several of the same style, from 0 to 1.
    """

    label: str
    points: Sequence[tuple[float, float]]
    style: str
    intervals: Sequence[tuple[float, float]] = ()
    rank: float | None = None

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


def _tick(value: float) -> str:
    """Format a tick in at most five characters: 0.5, 0.005, 5e-4."""
    return f"{value:.0e}".replace("e-0", "e-") if 0 < value < 1e-3 else f"{value:g}"


def _log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times the powers of ten in a range; in a wide range only the powers."""
    factors = (1,) if high / low > 1e3 else (1, 2, 5)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = (float(f"{factor * 10.0**power:.12g}") for power in powers for factor in factors)
    return [value for value in found if low <= value <= high]


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
        small: Whether the chart is one of three in a row; it then keeps the size of its text.
    """
    width, height = _SMALL_SIZE if small else _SIZE
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points]
    x_low, x_high = x_range or (min(xs), max(xs))
    y_low, y_high = y_range or ((min(ys) / 1.1, max(ys) * 1.1) if log else (0.0, 1.05 * max(ys)))
    x_high = x_high if x_high > x_low else x_low + 1.0
    y_high = y_high if y_high > y_low else y_low + 1.0

    def px(x: float) -> float:
        return _LEFT + (x - x_low) / (x_high - x_low) * (width - _LEFT - _RIGHT)

    def py(y: float) -> float:
        share = (
            math.log(y / y_low) / math.log(y_high / y_low)
            if log
            else (y - y_low) / (y_high - y_low)
        )
        return height - _BOTTOM - share * (height - _TOP - _BOTTOM)

    bottom, right = height - _BOTTOM, width - _RIGHT
    parts = [
        f'<svg viewBox="0 0 {width} {height}" class="{"small" if small else "large"}" role="img"'
        f' aria-label="{html.escape(title)}">',
        f"<title>{html.escape(title)}</title>",
    ]
    for y in _log_ticks(y_low, y_high) if log else ticks(y_low, y_high):
        parts.append(f'<path class="grid" d="M{_LEFT} {py(y):.1f}H{right}"/>')
        parts.append(f'<text x="{_LEFT - 7}" y="{py(y) + 4:.1f}" class="end">{_tick(y)}</text>')
    parts += [
        f'<text x="{px(x):.1f}" y="{bottom + 18}" class="mid">{x:g}</text>'
        for x in ticks(x_low, x_high)
        if not whole_x or x == int(x)
    ]
    middle = (_TOP + bottom) / 2
    parts += [
        f'<path class="axis" d="M{_LEFT} {_TOP}V{bottom}H{right}"/>',
        f'<text x="{(_LEFT + right) / 2}" y="{height - 8}" class="mid name">'
        f"{html.escape(x_label)}</text>",
        f'<text x="20" y="{middle}" class="mid name" transform="rotate(-90 20 {middle})">'
        f"{html.escape(y_label)}</text>",
    ]
    for line in lines:
        pixels = [(px(x), py(y)) for x, y in line.points]
        for (x, _), (low, high) in zip(pixels, line.intervals, strict=bool(line.intervals)):
            path = f"M{x:.1f} {py(low):.1f}V{py(high):.1f}"
            parts.append(f'<path class="whisker {line.style}" d="{path}"/>')
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in pixels)
        parts.append(f'<polyline class="line {line.style}"{line.color} points="{points}"/>')
        if len(pixels) == 1 or line.intervals:
            parts += [
                f'<circle class="dot {line.style}"{line.color} cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
                for x, y in pixels
            ]
    return "".join([*parts, "</svg>"])
