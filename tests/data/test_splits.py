"""Sizes of the parts of a split, as property tests."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlpkit.data._splits import split_sizes, stratified_counts


@given(st.lists(st.integers(0, 50), min_size=1, max_size=12), st.data())
def test_shares_are_rounded_and_margins_are_exact(
    class_counts: list[int], data: st.DataObject
) -> None:
    """Rows sum to class counts, columns to sizes, and every count is within 1 of its share."""
    total = sum(class_counts)
    if total == 0:
        return
    number = data.draw(st.integers(0, 5))
    cuts = data.draw(st.lists(st.integers(0, total), min_size=number, max_size=number))
    bounds = [0, *sorted(cuts), total]
    sizes = [high - low for low, high in itertools.pairwise(bounds)]
    counts = stratified_counts(class_counts, sizes)
    assert [sum(row) for row in counts] == class_counts
    assert [sum(column) for column in zip(*counts, strict=True)] == sizes
    for row, members in zip(counts, class_counts, strict=True):
        for count, size in zip(row, sizes, strict=True):
            assert abs(count - Fraction(members * size, total)) < 1


@given(st.integers(0, 10_000), st.lists(st.integers(1, 20), min_size=1, max_size=6))
def test_fractions_become_sizes_that_add_up(total: int, parts: list[int]) -> None:
    fractions = [part / sum(parts) for part in parts]
    sizes = split_sizes(fractions, total)
    assert sum(sizes) == total
    for size, fraction in zip(sizes, fractions, strict=True):
        assert abs(size - fraction * total) < 1 + 1e-6 * total


def test_sizes_are_returned_unchanged() -> None:
    assert split_sizes([50_000, 10_000], 60_000) == [50_000, 10_000]


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([], r"lengths must be at least one size or fraction, got \[\]"),
        ([5, 4], r"sizes that add up to the 10 examples, got \[5, 4\]; their sum is 9"),
        ([0.5, 0.4], r"fractions that add up to 1, got \[0.5, 0.4\]; their sum is 0.9"),
        ([-1, 11], r"non-negative sizes or fractions, got \[-1, 11\]"),
        ([float("nan"), 1.0], "non-negative sizes or fractions"),
        ([True, 9], "non-negative sizes or fractions"),
    ],
)
def test_invalid_lengths_are_refused(lengths: list[int] | list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_sizes(lengths, 10)


def test_lengths_may_be_arrays_tensors_and_numpy_numbers() -> None:
    """They give the same sizes as a list of Python numbers."""
    for sizes in (np.array([3, 7]), torch.tensor([3, 7]), [np.int64(3), np.int32(7)]):
        assert split_sizes(cast("list[int]", sizes), 10) == [3, 7]
    for fractions in (np.array([0.3, 0.7]), [np.float32(0.3), np.float32(0.7)]):
        assert split_sizes(cast("list[float]", fractions), 10) == [3, 7]


@pytest.mark.parametrize("lengths", [10, "37", ["3", "7"], np.array(10), torch.zeros(2, 2)])
def test_lengths_that_are_not_numbers_are_refused(lengths: object) -> None:
    with pytest.raises(TypeError, match="lengths must be a sequence of sizes or fractions, got"):
        split_sizes(cast("list[int]", lengths), 10)


def test_a_class_prefers_the_parts_of_its_largest_remainders() -> None:
    """As far as these parts have places."""
    assert stratified_counts([1, 2], [1, 2]) == [[0, 1], [1, 1]]
    assert stratified_counts([4, 6, 0], [3, 3, 4]) == [[1, 1, 2], [2, 2, 2], [0, 0, 0]]


@pytest.mark.parametrize(
    ("class_counts", "sizes"),
    [
        ([3, 6, 5, 5, 0, 1], [2, 3, 3, 6, 6]),  # a first path to a free part is a dead end
        ([2, 2, 2, 2, 2], [1, 2, 3, 4]),
        ([1] * 12, [3, 4, 5]),
        ([300, 300, 500], [1] * 1_100),  # a path visits more parts than Python has frames
    ],
)
def test_a_share_moves_to_another_part_where_its_part_is_full(
    class_counts: list[int], sizes: list[int]
) -> None:
    """The rounding is deterministic, so that the same seed splits the same data the same way."""
    counts = stratified_counts(class_counts, sizes)
    assert [sum(row) for row in counts] == class_counts
    assert [sum(column) for column in zip(*counts, strict=True)] == sizes
    total = sum(class_counts)
    for row, members in zip(counts, class_counts, strict=True):
        for count, size in zip(row, sizes, strict=True):
            assert abs(count - Fraction(members * size, total)) < 1
    assert stratified_counts(class_counts, sizes) == counts


@pytest.mark.parametrize("fractions", [[0.3, 0.7000005], [0.3, 0.6999995], [0.1] * 10])
def test_fractions_are_relative_to_their_sum(fractions: list[float]) -> None:
    """Oracle: the largest remainder method in exact arithmetic; no example is lost."""
    total = 10_000_003
    whole = sum(Fraction(fraction) for fraction in fractions)
    exact = [Fraction(fraction) * total / whole for fraction in fractions]
    expected = [int(size) for size in exact]
    remainders = [size - int(size) for size in exact]
    for part in np.argsort([-float(one) for one in remainders], kind="stable"):
        if sum(expected) < total:
            expected[int(part)] += 1
    sizes = split_sizes(fractions, total)
    assert sizes == expected
    assert sum(sizes) == total


def test_a_part_may_be_empty() -> None:
    assert split_sizes([0, 10], 10) == [0, 10]
    assert split_sizes([0.0, 1.0], 10) == [0, 10]
