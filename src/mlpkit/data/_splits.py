"""Sizes of the parts of a split, in total and per class."""

from __future__ import annotations

import numbers
import operator
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import SupportsIndex

import numpy as np
from torch import Tensor

from mlpkit._checks import error_message


def split_sizes(lengths: Sequence[int] | Sequence[float], total: int) -> list[int]:
    """Return the size of each part from sizes with sum ``total`` or fractions with sum 1.

    Fractions are rounded by the largest remainder method, so that the sizes add up to ``total``.
    """
    lengths = _to_numbers(lengths)
    if not lengths:
        raise ValueError(error_message("lengths", "at least one size or fraction", list(lengths)))
    if any(isinstance(length, bool) or not length >= 0 for length in lengths):
        raise ValueError(error_message("lengths", "non-negative sizes or fractions", list(lengths)))
    sizes = [length for length in lengths if isinstance(length, int)]
    if len(sizes) == len(lengths):
        if sum(sizes) != total:
            cure = f"their sum is {sum(sizes)}"
            rule = f"sizes that add up to the {total} examples"
            raise ValueError(error_message("lengths", rule, list(lengths), cure))
        return sizes
    if abs(sum(lengths) - 1.0) > 1e-6:
        cure = f"their sum is {sum(lengths):g}"
        raise ValueError(
            error_message("lengths", "fractions that add up to 1", list(lengths), cure)
        )
    whole = sum(Fraction(length) for length in lengths)
    exact = [Fraction(length) / whole * total for length in lengths]
    sizes = [int(size) for size in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda part: sizes[part] - exact[part])
    for part in by_remainder[: total - sum(sizes)]:
        sizes[part] += 1
    return sizes


def _to_numbers(lengths: object) -> list[int] | list[float]:
    """Return a sequence, an array or a tensor as a list of Python numbers."""
    values = lengths.tolist() if isinstance(lengths, np.ndarray | Tensor) else lengths
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise TypeError(error_message("lengths", "a sequence of sizes or fractions", lengths))
    return [_to_number(value) for value in values]


def _to_number(length: object) -> int | float:
    """Return an integer as int and a real number as float; a bool is kept for the caller."""
    if isinstance(length, bool):
        return length
    if isinstance(length, SupportsIndex) and not isinstance(length, Tensor):
        return operator.index(length)
    if isinstance(length, numbers.Real):
        return float(length)
    raise TypeError(error_message("lengths", "a sequence of sizes or fractions", length))


def stratified_counts(class_counts: Sequence[int], sizes: Sequence[int]) -> list[list[int]]:
    """Return the number of examples of class c in part p as ``counts[c][p]``.

    Every count is the exact share ``class_counts[c] * sizes[p] / total``, rounded down or up. The
    counts of a class add up to ``class_counts[c]`` and those of a part to ``sizes[p]``. Such a
    rounding always exists: the exact shares are a flow with integer margins, and every such flow
    can be rounded to an integer flow.
    """
    total = sum(class_counts)
    shares = [[divmod(count * size, total) for size in sizes] for count in class_counts]
    counts = [[whole for whole, _ in row] for row in shares]
    capacity = [
        size - sum(column) for size, column in zip(sizes, zip(*counts, strict=True), strict=True)
    ]
    for row, (label, share) in zip(counts, enumerate(shares), strict=True):
        by_remainder = sorted(range(len(sizes)), key=lambda part: -share[part][1])
        for _ in range(class_counts[label] - sum(row)):
            _round_up(label, by_remainder, counts, shares, capacity)
    return counts


def _round_up(
    label: int,
    by_remainder: Sequence[int],
    counts: list[list[int]],
    shares: list[list[tuple[int, int]]],
    capacity: list[int],
) -> None:
    """Round one share of a class up, along an augmenting path, by a search in depth.

    If all its parts are full, a share that an earlier class has rounded up moves to another part.
    """
    visited: set[int] = set()
    remaining: dict[int, Iterator[int]] = {}  # the parts that a class has not tried

    def steps(of: int, parts: Iterator[int]) -> Iterator[tuple[int, int, int]]:
        """Yield a class, a part that it can enter, and the class that leaves it, -1 if none."""
        for part in parts:
            whole, remainder = shares[of][part]
            if part in visited or remainder == 0 or counts[of][part] > whole:
                continue
            visited.add(part)
            if capacity[part] > 0:
                yield of, part, -1
            for other, row in enumerate(counts):
                if row[part] > shares[other][part][0]:
                    yield of, part, other

    path: list[tuple[int, int, int]] = []
    search = [steps(label, iter(by_remainder))]  # no recursion: a path may visit every part
    while not path or path[-1][-1] >= 0:
        step = next(search[-1], None)
        if step is None:
            search.pop()
            path.pop()
        else:
            path.append(step)
            parts = remaining.setdefault(step[-1], iter(range(len(capacity))))
            search.append(steps(step[-1], parts))
    for entering, part, leaving in path:
        counts[entering][part] += 1
        if leaving < 0:
            capacity[part] -= 1
        else:
            counts[leaving][part] -= 1
