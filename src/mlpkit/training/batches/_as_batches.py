"""Conversion of training and evaluation data to a source of batches."""

from __future__ import annotations

from typing import TypeAlias

from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mlpkit._checks import error_message
from mlpkit.training.batches._data_loader import LoaderBatches
from mlpkit.training.batches._sources import BatchSource, Examples
from mlpkit.training.batches._training_batches import length_of

__all__ = ["TrainingData", "as_batches"]

TrainingData: TypeAlias = Examples | BatchSource | DataLoader[tuple[Tensor, ...]]


def as_batches(
    argument: str,
    data: object,
    *,
    batch_size: int,
    shuffle: bool,
    seed: int,
    drop_last: bool = False,
) -> BatchSource:
    """Return ``data`` as a source of batches.

    Args:
        argument: Name of the argument, for error messages.
        data: A source, which is returned unchanged, or examples or a ``DataLoader``.
        batch_size: Number of examples per batch; used for examples only.
        shuffle: Whether examples are shuffled in each epoch.
        seed: Seed of the order.
        drop_last: Whether the last batch of an epoch is dropped if it is smaller; for examples
            only.

    Raises:
        TypeError: If ``data`` is none of the three.
        ValueError: If ``data`` has no batch, or is already in batches and ``drop_last`` is set.
    """
    source: BatchSource
    if drop_last and isinstance(data, DataLoader | BatchSource):
        cure = f"pass drop_last=True where {argument} is built"
        rule = "False for data that is already in batches"
        raise ValueError(error_message("drop_last", rule, drop_last, cure))
    if isinstance(data, DataLoader):
        source = LoaderBatches(data, seed=seed)
    elif isinstance(data, BatchSource):
        source = data
    elif isinstance(data, Examples):
        source = data.batches(batch_size, shuffle=shuffle, seed=seed, drop_last=drop_last)
    else:
        cure = "wrap tensors in LabeledTensors(inputs, targets)"
        if isinstance(data, Dataset):
            cure = "wrap it in a DataLoader"
        rule = "LabeledTensors, Batches or a DataLoader"
        raise TypeError(error_message(argument, rule, type(data).__name__, cure))
    if length_of(source) == 0:
        raise ValueError(error_message(argument, "at least one batch", 0, "add examples"))
    return source
