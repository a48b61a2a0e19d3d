"""Medians, spreads and ratios, as numbers and as they stand in a table."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """Minimum, median and maximum of some measurements."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarize at least one value."""
        return cls(min(values), statistics.median(values), max(values))

    def shown(self, digits: int = 3, scale: float = 1.0) -> str:
        """Return ``median (min to max)``."""
        low, median, high = (f"{value * scale:.{digits}f}" for value in self)
        return f"{median} ({low} to {high})"


def paired_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> Spread:
    """Summarize the ratio within each round, where both met the same state of the machine."""
    return Spread.of([top / bottom for top, bottom in zip(numerator, denominator, strict=True)])


def growth_exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return the least-squares slope of log(value) over log(size): 1 is linear growth, 0 none."""
    fit = statistics.linear_regression(
        [math.log(size) for size in sizes], [math.log(value) for value in values]
    )
    return fit.slope


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table: the first column to the left, the others to the right."""
    rule = [":---", *["---:"] * (len(header) - 1)]
    lines = [header, rule, *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
