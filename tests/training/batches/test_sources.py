"""The data of mlpkit.data fit the protocols of training."""

from __future__ import annotations

import torch
from tests.training.scenario import examples, noise

from mlpkit.data import Batches
from mlpkit.training import BatchLike, BatchSource, Examples
from mlpkit.training.batches import IndexedSource


def test_data_fits_the_protocols() -> None:
    """What mlpkit.data has is what training wants, without either knowing the other."""
    data = examples()
    assert isinstance(data, Examples)
    assert isinstance(Batches(data, 8), BatchSource)
    assert isinstance(Batches(data, 8), IndexedSource)
    assert isinstance(next(iter(Batches(data, 8).epoch(0))), BatchLike)
    assert not isinstance(data, BatchSource)
    assert not isinstance([data], Examples | BatchSource)


def test_an_epoch_is_what_its_indices_gather() -> None:
    """The rule of IndexedSource, from any batch on, with an augmentation."""
    batches = Batches(examples(), 8, seed=3, augment=noise)
    for epoch, start in ((0, 0), (2, 5)):
        whole = list(batches.epoch(epoch, start=start))
        gathered = [
            batches.gather(indices, epoch=epoch)
            for indices in batches.batch_indices(epoch, start=start)
        ]
        assert len(whole) == len(gathered) == 8 - start
        for one, other in zip(whole, gathered, strict=True):
            assert torch.equal(one.inputs, other.inputs)
            assert torch.equal(one.targets, other.targets)
            assert torch.equal(one.indices, other.indices)
