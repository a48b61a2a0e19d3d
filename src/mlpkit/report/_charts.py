"""Line charts as SVG whose colors the page's style decides, so that they follow light and dark."""

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
    """One line: its points, the class that the style knows it by, and vertical intervals.

    ``rank`` is the place of one line among many of the same style, from 0 to 1.
    """

    label: str
    points: Sequence[tuple[float, float]]
    style: str
    intervals: Sequence[tuple[float, float]] = ()
    rank: float | None = None

    @property
    def color(self) -> str:
        """The attribute by which the style mixes the color of the line; empty without rank."""
        return "" if self.rank is None else f' style="--rank:{self.rank:.3g}"'


def ticks(low: float, high: float, *, most: int = 6) -> list[float]:
    """Return round numbers from ``low`` to ``high``: 1, 2 or 5 times a power of ten apart."""
    if not high > low:
        return [low]
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def _tick(value: float) -> str:
    """Return a tick in at most five letters: 0.5, 0.005, 5e-4."""
    return f"{value:.0e}".replace("e-0", "e-") if 0 < value < 1e-3 else f"{value:g}"


def _log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times the powers of ten in a range; the powers alone in a wide one."""
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
        lines: What to draw, at least one point in all.
        title: Read out where the chart cannot be seen.
        x_label: What the x axis is, with its unit.
        y_label: What the y axis is, with its unit.
        x_range: Ends of the x axis; None fits the points.
        y_range: Ends of the y axis; None fits the points, from 0 on where it is not logarithmic.
        log: Whether the y axis is logarithmic; all values are positive then.
        whole_x: Whether x counts something, so that only whole numbers make sense.
        small: Whether it is one of three in a row, so that its words keep their size.
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

    floor, wall = height - _BOTTOM, width - _RIGHT
    parts = [
        f'<svg viewBox="0 0 {width} {height}" class="{"small" if small else "large"}" role="img"'
        f' aria-label="{html.escape(title)}">',
        f"<title>{html.escape(title)}</title>",
    ]
    for y in _log_ticks(y_low, y_high) if log else ticks(y_low, y_high):
        parts.append(f'<path class="grid" d="M{_LEFT} {py(y):.1f}H{wall}"/>')
        parts.append(f'<text x="{_LEFT - 7}" y="{py(y) + 4:.1f}" class="end">{_tick(y)}</text>')
    parts += [
        f'<text x="{px(x):.1f}" y="{floor + 18}" class="mid">{x:g}</text>'
        for x in ticks(x_low, x_high)
        if not whole_x or x == int(x)
    ]
    middle = (_TOP + floor) / 2
    parts += [
        f'<path class="axis" d="M{_LEFT} {_TOP}V{floor}H{wall}"/>',
        f'<text x="{(_LEFT + wall) / 2}" y="{height - 8}" class="mid name">'
        f"{html.escape(x_label)}</text>",
        f'<text x="20" y="{middle}" class="mid name" transform="rotate(-90 20 {middle})">'
        f"{html.escape(y_label)}</text>",
    ]
    for line in lines:
        where = [(px(x), py(y)) for x, y in line.points]
        for (x, _), (low, high) in zip(where, line.intervals, strict=bool(line.intervals)):
            path = f"M{x:.1f} {py(low):.1f}V{py(high):.1f}"
            parts.append(f'<path class="whisker {line.style}" d="{path}"/>')
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in where)
        parts.append(f'<polyline class="line {line.style}"{line.color} points="{points}"/>')
        if len(where) == 1 or line.intervals:
            parts += [
                f'<circle class="dot {line.style}"{line.color} cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
                for x, y in where
            ]
    return "".join([*parts, "</svg>"])
