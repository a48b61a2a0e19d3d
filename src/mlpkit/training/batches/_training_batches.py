"""The batches that a run trains on, with epochs of the length that the settings say."""

from __future__ import annotations

from torch.utils.data import IterableDataset

from mlpkit._checks import error_message
from mlpkit.training.batches._continued import ContinuedBatches
from mlpkit.training.batches._data_loader import LoaderBatches
from mlpkit.training.batches._sources import BatchSource, StatefulSource
from mlpkit.training.batches._stream import StatefulStream, StreamBatches, state_holder

__all__ = ["can_be_read_again", "length_of", "training_batches"]


def length_of(source: BatchSource) -> int | None:
    """Return the number of batches in one pass over a source; None if it is unknown."""
    try:
        return len(source)
    except (TypeError, NotImplementedError):
        return None


def training_batches(source: BatchSource, num_batches: int | None) -> BatchSource:
    """Return the batches of a source, in epochs of ``num_batches``; None means one pass each.

    Raises:
        ValueError: If the source has a state, and decides itself about the length of its epochs.
    """
    if isinstance(source, LoaderBatches):
        holder = state_holder(source.loader)
        length = num_batches or len(source)
        if holder is not None:
            return StatefulStream(source, length, holder)
        if isinstance(source.loader.dataset, IterableDataset) or length_of(source) is None:
            return StreamBatches(source, length)
    if num_batches is None:
        return source
    if isinstance(source, StatefulSource):
        cure = "return the number of batches of an epoch from the __len__ of train"
        rule = "None for a BatchSource with state_dict"
        raise ValueError(error_message("steps_per_epoch", rule, num_batches, cure))  # noqa: TRY004 - of the source
    return ContinuedBatches(source, num_batches)


def can_be_read_again(source: BatchSource) -> bool:
    """Return whether the batches are a pure function of the epoch, and have no state."""
    return not isinstance(source, StreamBatches | StatefulSource)
