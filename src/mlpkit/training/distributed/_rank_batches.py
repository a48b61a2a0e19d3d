"""The part of each batch that one process trains on."""

from __future__ import annotations

from collections.abc import Iterator

from mlpkit._protocols import Batch
from mlpkit.training._ranks import Ranks
from mlpkit.training.batches import BatchLike, BatchSource, IndexedSource, RankBatch
from mlpkit.training.distributed._same_tensors import check_same_tensors

__all__ = ["rank_batches"]


class _RankSource:
    """The batches of a source, of which each process takes a part.

    The order of the examples is a pure function of the seed and the epoch, so the processes agree
    on it without communication. For a source that reads its batches elsewhere, such as a loader,
    the first batch of each epoch is compared.
    """

    def __init__(self, source: BatchSource, ranks: Ranks) -> None:
        self._source = source
        self._ranks = ranks

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[RankBatch]:
        """Yield this process' part of each batch."""
        source, ranks = self._source, self._ranks
        if isinstance(source, IndexedSource):  # only the part is gathered and augmented
            for indices in source.batch_indices(epoch, start=start):
                part = source.gather(indices[ranks.part(len(indices))], epoch=epoch)
                yield _with_number(part, len(indices))
            return
        is_checked = False
        for batch in source.epoch(epoch, start=start):
            if not is_checked:
                tensors = [batch.inputs, batch.targets]
                check_same_tensors("the batches of train", tensors, ranks)
                is_checked = True
            count = batch.indices.shape[0]
            rows = ranks.part(count)
            weights = None if batch.weights is None else batch.weights[rows]
            part = Batch(batch.inputs[rows], batch.targets[rows], weights, batch.indices[rows])
            yield _with_number(part, count)


def _with_number(part: BatchLike, count: int) -> RankBatch:
    return RankBatch(part.inputs, part.targets, part.weights, part.indices, count)


def rank_batches(source: BatchSource, ranks: Ranks) -> BatchSource | _RankSource:
    """Return the source of what this process trains on; the source itself for one process."""
    return source if ranks.size == 1 else _RankSource(source, ranks)
