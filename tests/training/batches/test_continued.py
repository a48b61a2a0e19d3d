"""Epochs of a fixed number of batches, which continue the passes over a finite source."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from tests.training.scenario import examples, noise

from mlpkit.data import Batches
from mlpkit.training import BatchLike, BatchSource
from mlpkit.training.batches import ContinuedBatches

SOURCE = Batches(examples(), 8, seed=3, augment=noise)  # 8 batches of up to 8 of 61 examples


def seen(batches: Iterator[BatchLike]) -> list[tuple[list[int], float]]:
    """Return what tells batches, and their augmentation, from one another."""
    return [(batch.indices.tolist(), float(batch.inputs.sum())) for batch in batches]


@pytest.mark.parametrize("length", [1, 3, 8, 21])
def test_epochs_are_pieces_of_the_passes(length: int) -> None:
    passes = [one for number in range(8) for one in seen(SOURCE.epoch(number))]
    continued = ContinuedBatches(SOURCE, length)
    assert len(continued) == length
    found = [one for epoch in range(3) for one in seen(continued.epoch(epoch))]
    assert found == passes[: 3 * length]


def test_any_epoch_and_start_gives_the_rest() -> None:
    """Also after a piece of another epoch, and while that is still being read."""
    continued = ContinuedBatches(SOURCE, 5)
    whole = [seen(continued.epoch(epoch)) for epoch in range(3)]
    for epoch, start in ((1, 2), (0, 0), (2, 4), (1, 5)):
        assert seen(continued.epoch(epoch, start=start)) == whole[epoch][start:]
    other = continued.epoch(1)
    first = seen(itertools.islice(other, 2))
    assert seen(continued.epoch(0)) == whole[0]
    assert first + seen(other) == whole[1]


def test_a_pass_is_opened_once() -> None:
    """The batches of earlier epochs are not read again."""
    opened = []

    class Counted(Batches):
        def epoch(self, epoch: int, *, start: int = 0) -> Iterator[BatchLike]:  # type: ignore[override]
            opened.append((epoch, start))
            return super().epoch(epoch, start=start)

    continued = ContinuedBatches(Counted(examples(), 8), 3)
    for epoch in range(5):
        seen(continued.epoch(epoch))
    assert opened == [(0, 0), (1, 0)]


def test_a_length_that_is_wrong_is_named() -> None:
    class Short(Batches):
        def epoch(self, epoch: int, *, start: int = 0) -> Iterator[BatchLike]:  # type: ignore[override]
            return itertools.islice(super().epoch(epoch, start=start), 7)

    source: BatchSource = Short(examples(), 8)
    message = "train must be 8 batches in each epoch, as its length says, got 7 in epoch 0; correct"
    with pytest.raises(ValueError, match=message):
        seen(ContinuedBatches(source, 10).epoch(0))
