"""Training data: protocols of batches and their sources, and the DataLoader adapter."""

from __future__ import annotations

from mlpkit.training.batches._as_batches import TrainingData, as_batches
from mlpkit.training.batches._continued import ContinuedBatches
from mlpkit.training.batches._data_loader import LoaderBatches
from mlpkit.training.batches._known_inputs import known_inputs
from mlpkit.training.batches._lazy import LazyBatch, lazy_source
from mlpkit.training.batches._microbatches import microbatches, on_device
from mlpkit.training.batches._rank_batch import RankBatch, num_examples
from mlpkit.training.batches._sources import (
    BatchLike,
    BatchSource,
    Examples,
    IndexedSource,
    StatefulSource,
)
from mlpkit.training.batches._stream import StreamBatches
from mlpkit.training.batches._training_batches import (
    can_be_read_again,
    length_of,
    training_batches,
)

__all__ = [
    "BatchLike",
    "BatchSource",
    "ContinuedBatches",
    "Examples",
    "IndexedSource",
    "LazyBatch",
    "LoaderBatches",
    "RankBatch",
    "StatefulSource",
    "StreamBatches",
    "TrainingData",
    "as_batches",
    "can_be_read_again",
    "known_inputs",
    "lazy_source",
    "length_of",
    "microbatches",
    "num_examples",
    "on_device",
    "training_batches",
]
