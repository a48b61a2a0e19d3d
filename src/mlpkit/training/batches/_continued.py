"""The passes over a source one after another, divided into epochs of equal length."""

from __future__ import annotations

from collections.abc import Iterator

from mlpkit._checks import Unquoted, error_message
from mlpkit.training.batches._sources import BatchLike, BatchSource

__all__ = ["ContinuedBatches"]


class ContinuedBatches:
    """Epochs of ``num_batches`` batches, each of which begins where the previous one ended.

    Batch ``b`` of epoch ``e`` is batch number ``e * num_batches + b`` of all passes over the
    source, so it is a pure function of ``e`` and ``b``.

    Args:
        source: A source whose batches are a pure function of the epoch.
        num_batches: Number of batches of an epoch, at least 1.
    """

    def __init__(self, source: BatchSource, num_batches: int) -> None:
        self.source = source
        self._num_batches = num_batches
        self._position = -1  # of the batch that the open pass yields next
        self._rest: Iterator[BatchLike] = iter(())
        examples = source.num_examples
        self.num_examples = None if examples is None else examples * num_batches // len(source)
        self.fingerprint = source.fingerprint

    def __len__(self) -> int:
        return self._num_batches

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[BatchLike]:
        """Yield the batches of one epoch, from batch number ``start`` on."""
        first, end = epoch * self._num_batches + start, (epoch + 1) * self._num_batches
        for position in range(first, end):
            number, offset = divmod(position, len(self.source))
            if position != self._position or offset == 0:
                self._rest = iter(self.source.epoch(number, start=offset))
            batch = next(self._rest, None)
            if batch is None:
                rule = f"{len(self.source)} batches in each epoch, as its length says"
                got = Unquoted(f"{offset} in epoch {number}")
                raise ValueError(error_message("train", rule, got, "correct its __len__"))
            self._position = position + 1
            yield batch
