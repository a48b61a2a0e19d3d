"""Conversion of training and evaluation data to a source of batches."""

from __future__ import annotations

from typing import TypeAlias

from torch import Tensor
from torch.utils.data import DataLoader

from mlpkit._checks import error_message
from mlpkit.training.batches._data_loader import LoaderBatches
from mlpkit.training.batches._sources import BatchSource, Examples

__all__ = ["TrainingData", "as_batches"]

TrainingData: TypeAlias = Examples | BatchSource | DataLoader[tuple[Tensor, ...]]


def as_batches(
    argument: str, data: object, *, batch_size: int, shuffle: bool, seed: int
) -> BatchSource:
    """Return ``data`` as a source of batches.

    Args:
        argument: Name of the argument, for error messages.
        data: A source, which is returned unchanged, or examples or a ``DataLoader``.
        batch_size: Number of examples per batch; used for examples only.
        shuffle: Whether examples are shuffled in each epoch.
        seed: Seed of the order.

    Raises:
        TypeError: If ``data`` is none of the three.
        ValueError: If ``data`` has no batch.
    """
    source: BatchSource
    if isinstance(data, DataLoader):
        source = LoaderBatches(data, seed=seed)
    elif isinstance(data, BatchSource):
        source = data
    elif isinstance(data, Examples):
        source = data.batches(batch_size, shuffle=shuffle, seed=seed)
    else:
        raise TypeError(
            error_message(
                argument,
                "LabeledTensors, Batches or a DataLoader",
                type(data).__name__,
                "wrap tensors in LabeledTensors(inputs, targets)",
            )
        )
    if len(source) == 0:
        raise ValueError(error_message(argument, "at least one batch", 0, "add examples"))
    return source
