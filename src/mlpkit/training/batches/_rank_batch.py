"""The part of a batch that one of several processes trains on."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mlpkit.training.batches._sources import BatchLike

__all__ = ["RankBatch", "num_examples"]


@dataclass(frozen=True, slots=True)
class RankBatch:
    """The part of a batch that belongs to one process.

    Attributes:
        inputs: Inputs of the part, ``(n, ...)``.
        targets: Targets of the part, ``(n, ...)``.
        weights: Weight of each example, ``(n,)``; None means equal weights.
        indices: Position of each example in its data set, ``(n,)``.
        num_examples: Number of examples in the whole batch.
    """

    inputs: Tensor
    targets: Tensor
    weights: Tensor | None
    indices: Tensor
    num_examples: int


def num_examples(batch: BatchLike) -> int:
    """Return the number of examples in a batch, over all processes."""
    return batch.num_examples if isinstance(batch, RankBatch) else batch.indices.shape[0]
