"""The parts of a batch make up the batch."""

from __future__ import annotations

from typing import TypeVar

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from mlpkit.data import LabeledTensors, RandomAffine
from mlpkit.training._ranks import Ranks
from mlpkit.training.batches import BatchSource, LoaderBatches, RankBatch, num_examples
from mlpkit.training.distributed import rank_batches

T = TypeVar("T")


class Alike(Ranks):
    """Processes that all say the same, without a group."""

    def gather(self, value: T) -> list[T]:
        return [value] * self.size


def numbered(count: int) -> LabeledTensors:
    images = torch.rand(count, 1, 6, 6, generator=torch.Generator().manual_seed(count))
    return LabeledTensors(images, torch.arange(count), weights=torch.linspace(1, 2, count))


@settings(deadline=None)
@given(
    count=st.integers(1, 60),
    batch_size=st.integers(1, 30),
    size=st.integers(2, 7),
    start=st.integers(0, 10),
    kind=st.sampled_from(["plain", "augmented", "loader"]),
)
def test_the_parts_of_all_processes_make_up_each_batch(
    count: int, batch_size: int, size: int, start: int, kind: str
) -> None:
    """In order, with the same augmentation; their sizes differ by at most one."""
    data = numbered(count)
    source: BatchSource = data.batches(batch_size, seed=3)
    if kind == "augmented":
        source = data.batches(batch_size, seed=3, augment=RandomAffine(degrees=20.0))
    if kind == "loader":
        source = LoaderBatches(DataLoader(data.as_torch_dataset(), batch_size=batch_size), seed=0)
    start = min(start, len(source))
    parts_of = [
        rank_batches(source, Alike(rank, size)).epoch(5, start=start) for rank in range(size)
    ]
    for batch in source.epoch(5, start=start):
        parts = [next(parts) for parts in parts_of]
        assert all(isinstance(part, RankBatch) for part in parts)
        assert {num_examples(part) for part in parts} == {len(batch.indices)}
        assert torch.equal(torch.cat([part.indices for part in parts]), batch.indices)
        assert torch.equal(torch.cat([part.targets for part in parts]), batch.targets)
        assert torch.allclose(torch.cat([part.inputs for part in parts]), batch.inputs, atol=1e-6)
        sizes = [len(part.targets) for part in parts]
        assert max(sizes) - min(sizes) <= 1
    assert all(next(parts, None) is None for parts in parts_of)


def test_one_process_reads_the_source_itself() -> None:
    source = numbered(5).batches(2)
    assert rank_batches(source, Ranks()) is source
