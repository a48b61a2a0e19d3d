"""Batches that are gathered when they are first read, within a captured step."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import torch
from torch import Tensor

from mlpkit.training.batches._continued import ContinuedBatches
from mlpkit.training.batches._sources import BatchLike, BatchSource, IndexedSource

__all__ = ["LazyBatch", "lazy_source"]


class LazyBatch:
    """A batch that is gathered when its inputs, targets or weights are first read.

    Args:
        source: Gathers the batch.
        indices: Positions of its examples, int64, ``(N,)``.
        epoch: Number of its epoch.
    """

    def __init__(self, source: IndexedSource, indices: Tensor, epoch: int) -> None:
        self.source = source
        self.indices = indices
        self.epoch = epoch

    @functools.cached_property
    def _gathered(self) -> BatchLike:
        return self.source.gather(self.indices, epoch=self.epoch)

    @property
    def inputs(self) -> Tensor:
        """Inputs of the model."""
        return self._gathered.inputs

    @property
    def targets(self) -> Tensor:
        """Targets of the examples."""
        return self._gathered.targets

    @property
    def weights(self) -> Tensor | None:
        """Weight of each example, or None."""
        return self._gathered.weights


class _LazySource:
    """The batches of an indexed source, each gathered when it is first read."""

    def __init__(self, source: IndexedSource) -> None:
        self._source = source
        self.num_examples = source.num_examples
        self.fingerprint = source.fingerprint

    def __len__(self) -> int:
        return len(self._source)

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[LazyBatch]:
        for indices in self._source.batch_indices(epoch, start=start):
            yield LazyBatch(self._source, indices, epoch)


def lazy_source(source: BatchSource, device: torch.device) -> BatchSource:
    """Return a source of lazy batches if the examples are on ``device``, else the source itself."""
    if isinstance(source, ContinuedBatches):
        return ContinuedBatches(lazy_source(source.source, device), len(source))
    if isinstance(source, IndexedSource) and source.device == device:
        return _LazySource(source)
    return source
