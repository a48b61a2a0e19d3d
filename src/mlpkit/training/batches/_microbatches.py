"""The batches of one optimizer step, on the device of the model."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch

from mlpkit._protocols import Batch
from mlpkit.training.batches._lazy import LazyBatch
from mlpkit.training.batches._rank_batch import RankBatch
from mlpkit.training.batches._sources import BatchLike

__all__ = ["microbatches", "on_device"]


def on_device(batch: BatchLike, device: torch.device) -> BatchLike:
    """Return the batch on ``device``; the batch itself if it is already there."""
    if isinstance(batch, LazyBatch):  # gathered on the device of the model
        return batch
    if batch.inputs.device == device and batch.targets.device == device:
        return batch
    weights = batch.weights
    moved = Batch(
        batch.inputs.to(device, non_blocking=True),
        batch.targets.to(device, non_blocking=True),
        None if weights is None else weights.to(device, non_blocking=True),
        batch.indices.to(device, non_blocking=True),
    )
    return RankBatch(*moved, batch.num_examples) if isinstance(batch, RankBatch) else moved


def microbatches(
    batches: Iterator[BatchLike], size: int, device: torch.device
) -> Iterator[list[BatchLike]]:
    """Yield ``size`` batches at a time, on ``device``; the last list may be shorter."""
    while step := [on_device(batch, device) for batch in itertools.islice(batches, size)]:
        yield step
