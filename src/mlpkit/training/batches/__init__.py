"""Todo."""

from __future__ import annotations

from mlpkit.training.batches._sources import (
    BatchLike,
    BatchSource,
    Examples,
    IndexedSource,
    LazyBatch,
    LoaderBatches,
    TrainingData,
    as_batches,
    microbatches,
    on_device,
)

__all__ = [
    "BatchLike",
    "BatchSource",
    "Examples",
    "IndexedSource",
    "LazyBatch",
    "LoaderBatches",
    "TrainingData",
    "as_batches",
    "microbatches",
    "on_device",
]
