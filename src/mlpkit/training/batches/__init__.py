"""Training data: protocols of batches and their sources, and the DataLoader adapter."""

from __future__ import annotations

from mlpkit.training.batches._as_batches import TrainingData, as_batches
from mlpkit.training.batches._data_loader import LoaderBatches
from mlpkit.training.batches._lazy import LazyBatch, lazy_source
from mlpkit.training.batches._microbatches import microbatches, on_device
from mlpkit.training.batches._sources import BatchLike, BatchSource, Examples, IndexedSource

__all__ = [
    "BatchLike",
    "BatchSource",
    "Examples",
    "IndexedSource",
    "LazyBatch",
    "LoaderBatches",
    "TrainingData",
    "as_batches",
    "lazy_source",
    "microbatches",
    "on_device",
]
