"""A lazy batch is gathered once, when it is first read."""

from __future__ import annotations

import pytest
import torch
from tests.training.scenario import examples, noise
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from mlpkit.data import Batches, LabeledTensors
from mlpkit.training import BatchLike
from mlpkit.training.batches import ContinuedBatches, LazyBatch, LoaderBatches, lazy_source

CPU, META = torch.device("cpu"), torch.device("meta")


class Counting(Batches):
    """Counts what is gathered."""

    num_gathered = 0

    def gather(self, indices: Tensor, *, epoch: int) -> BatchLike:  # type: ignore[override]
        self.num_gathered += 1
        return super().gather(indices, epoch=epoch)


@pytest.mark.parametrize("weighted", [True, False])
def test_it_is_gathered_once(*, weighted: bool) -> None:
    """Whichever tensor is read first; its indices need nothing."""
    data = examples()
    weights = torch.rand(61) if weighted else None
    source = Counting(LabeledTensors(data.inputs, data.targets, weights=weights), 8)
    indices = torch.tensor([3, 1, 60])
    lazy = LazyBatch(source, indices, 2)
    before = source.num_gathered
    assert torch.equal(lazy.indices, indices)
    assert source.num_gathered == before
    for _ in range(2):
        assert torch.equal(lazy.inputs, data.inputs[indices])
        assert torch.equal(lazy.targets, data.targets[indices])
        if weights is None:
            assert lazy.weights is None
        else:
            assert lazy.weights is not None
            assert torch.equal(lazy.weights, weights[indices])
    assert isinstance(lazy, BatchLike)
    assert source.num_gathered == before + 1


def test_the_lazy_source_has_the_batches_of_the_source() -> None:
    """In every epoch and from any batch on, with the augmentation of that epoch."""
    source = Batches(examples(), 8, seed=3, augment=noise)
    lazy = lazy_source(source, CPU)
    assert lazy is not source
    assert (len(lazy), lazy.num_examples, lazy.fingerprint) == (8, 61, source.fingerprint)
    for epoch, start in ((0, 0), (1, 0), (4, 6)):
        pairs = zip(lazy.epoch(epoch, start=start), source.epoch(epoch, start=start), strict=True)
        for one, other in pairs:
            assert isinstance(one, LazyBatch)
            assert torch.equal(one.inputs, other.inputs)
            assert torch.equal(one.targets, other.targets)
            assert torch.equal(one.indices, other.indices)


def test_only_an_indexed_source_on_the_device_becomes_lazy() -> None:
    """Examples elsewhere are gathered before they are moved; a loader has no indices."""
    source = Batches(examples(), 8)
    assert lazy_source(source, META) is source
    loader = LoaderBatches(DataLoader(TensorDataset(torch.zeros(4, 2), torch.zeros(4)), 2))
    assert lazy_source(loader, CPU) is loader


def test_continued_batches_are_lazy_too() -> None:
    """With the epoch of their pass, on which the augmentation depends."""
    source = ContinuedBatches(Batches(examples(), 8, augment=noise), 5)
    lazy = lazy_source(source, CPU)
    for epoch in range(4):
        for one, other in zip(lazy.epoch(epoch), source.epoch(epoch), strict=True):
            assert isinstance(one, LazyBatch)
            assert torch.equal(one.inputs, other.inputs)
