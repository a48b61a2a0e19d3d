"""Sizes of batches, against the batches that they make."""

from __future__ import annotations

import pytest

from mlpkit._batch_sizes import even_batch_size


@pytest.mark.parametrize("largest", [1, 2, 7, 64, 128, 256])
def test_no_batch_is_small(largest: int) -> None:
    for count in [*range(1, 700), 2143, 4033, 10_000, 16_257, 55_000, 60_000, 65_281]:
        size = even_batch_size(count, largest)
        batches = [min(size, count - start) for start in range(0, count, size)]
        assert sum(batches) == count
        assert max(batches) == size <= largest
        assert 2 * min(batches) >= size
        if largest >= 64 and count > 5 * largest:
            assert size >= 0.8 * largest - 1


@pytest.mark.parametrize(
    ("count", "size"), [(1, 1), (40, 40), (65, 33), (4033, 58), (55_000, 128), (60_000, 128)]
)
def test_sizes(count: int, size: int) -> None:
    assert even_batch_size(count, 128 if count > 10_000 else 64) == size
