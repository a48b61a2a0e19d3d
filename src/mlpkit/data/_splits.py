"""How many examples of each class go to each part of a split: exact to one example."""

from __future__ import annotations

import numbers
import operator
from collections.abc import Sequence
from fractions import Fraction
from typing import SupportsIndex

import numpy as np
from torch import Tensor

from mlpkit._checks import error_message


def split_sizes(lengths: Sequence[int] | Sequence[float], total: int) -> list[int]:
    """Return the size of each part, given sizes that add to ``total`` or fractions that add to 1.

    Fractions are rounded by largest remainder, so that the sizes add up exactly.
    """
    lengths = _plain(lengths)
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


def _plain(lengths: object) -> list[int] | list[float]:
    """Return the lengths as Python's own numbers, whatever sequence they come in."""
    listed = lengths.tolist() if isinstance(lengths, np.ndarray | Tensor) else lengths
    if isinstance(listed, str) or not isinstance(listed, Sequence):
        raise TypeError(error_message("lengths", "a sequence of sizes or fractions", lengths))
    return [_plain_number(length) for length in listed]


def _plain_number(length: object) -> int | float:
    if isinstance(length, bool):
        return length
    if isinstance(length, SupportsIndex) and not isinstance(length, Tensor):
        return operator.index(length)
    if isinstance(length, numbers.Real):
        return float(length)
    raise TypeError(error_message("lengths", "a sequence of sizes or fractions", length))


def stratified_counts(class_counts: Sequence[int], sizes: Sequence[int]) -> list[list[int]]:
    """Return how many examples of each class each part gets, ``counts[c][p]``.

    Every count is the exact share ``class_counts[c] * sizes[p] / total`` rounded down or up, every
    class is used up and every part is full. Such a rounding always exists, since the exact shares
    are a real flow with integer margins, and a flow with integer margins can be made integer.
    """
    total = sum(class_counts)
    shares = [[divmod(count * size, total) for size in sizes] for count in class_counts]
    counts = [[whole for whole, _ in row] for row in shares]
    room = [
        size - sum(column) for size, column in zip(sizes, zip(*counts, strict=True), strict=True)
    ]
    for row, (label, share) in zip(counts, enumerate(shares), strict=True):
        by_remainder = sorted(range(len(sizes)), key=lambda part: -share[part][1])
        for _ in range(class_counts[label] - sum(row)):
            _place(label, by_remainder, counts, shares, room, visited=set())
    return counts


def _place(
    label: int,
    by_remainder: Sequence[int],
    counts: list[list[int]],
    shares: list[list[tuple[int, int]]],
    room: list[int],
    visited: set[int],
) -> bool:
    """Round one share of a class up, moving what an earlier class has rounded up if need be."""
    for part in by_remainder:
        whole, remainder = shares[label][part]
        if part in visited or remainder == 0 or counts[label][part] > whole:
            continue
        visited.add(part)
        if room[part] > 0:
            room[part] -= 1
            counts[label][part] += 1
            return True
        for other in range(len(counts)):
            if counts[other][part] > shares[other][part][0]:
                counts[other][part] -= 1
                room[part] += 1
                if _place(other, range(len(room)), counts, shares, room, visited):
                    room[part] -= 1
                    counts[label][part] += 1
                    return True
                counts[other][part] += 1
                room[part] -= 1
    return False
