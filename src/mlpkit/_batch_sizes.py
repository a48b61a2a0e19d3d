"""Sizes of batches that divide a data set without a small rest."""

from __future__ import annotations

__all__ = ["even_batch_size"]


def even_batch_size(num_examples: int, largest: int) -> int:
    """Return a batch size with which the last batch is at least half as large as the others.

    A last batch of one example would be as large a step as the others, in the direction of that
    example.

    Args:
        num_examples: Number of examples, at least 1.
        largest: Largest size, at least 1; the result is little smaller, unless there are only a
            few batches.
    """
    size = -(-num_examples // -(-num_examples // largest))
    while 2 * ((num_examples - 1) % size + 1) < size:
        size -= 1
    return size
