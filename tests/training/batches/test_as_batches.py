"""Examples, batches and loaders become sources of batches; anything else is refused."""

from __future__ import annotations

import pytest
import torch
from tests.training.scenario import examples
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from mlpkit.data import Batches
from mlpkit.training import BatchSource
from mlpkit.training.batches import LoaderBatches, as_batches


def order(source: BatchSource, epoch: int) -> list[list[int]]:
    """Return the indices of each batch of an epoch."""
    return [batch.indices.tolist() for batch in source.epoch(epoch)]


@pytest.mark.parametrize("shuffle", [True, False])
def test_examples_are_put_into_batches(*, shuffle: bool) -> None:
    """With the size, the order and the seed that the trainer passes."""
    found = as_batches("train", examples(), batch_size=8, shuffle=shuffle, seed=3)
    expected = Batches(examples(), 8, shuffle=shuffle, seed=3)
    assert found.fingerprint == expected.fingerprint
    assert [order(found, epoch) for epoch in range(2)] == [
        order(expected, epoch) for epoch in range(2)
    ]


def test_the_last_batch_is_dropped_from_examples_only() -> None:
    found = as_batches("train", examples(), batch_size=8, shuffle=True, seed=3, drop_last=True)
    assert found.fingerprint == Batches(examples(), 8, seed=3, drop_last=True).fingerprint
    dataset = TensorDataset(torch.zeros(9, 1), torch.zeros(9))
    message = "drop_last must be False for data that is already in batches, got True; pass drop_l"
    for data in (found, DataLoader(dataset, 2)):
        with pytest.raises(ValueError, match=message):
            as_batches("train", data, batch_size=8, shuffle=True, seed=3, drop_last=True)


def test_a_source_stays_as_it_is() -> None:
    source = Batches(examples(), 8, seed=5)
    assert as_batches("val", source, batch_size=2, shuffle=False, seed=0) is source


def test_a_loader_is_wrapped_with_the_seed() -> None:
    dataset = TensorDataset(torch.arange(9.0)[:, None], torch.arange(9))
    loader: DataLoader[tuple[Tensor, ...]] = DataLoader(dataset, 2, shuffle=True)
    found = as_batches("train", loader, batch_size=4, shuffle=False, seed=3)
    assert isinstance(found, LoaderBatches)
    targets = [batch.targets.tolist() for batch in found.epoch(1)]
    expected = LoaderBatches(loader, seed=3).epoch(1)
    assert targets == [batch.targets.tolist() for batch in expected]


def test_nothing_to_train_on_is_refused() -> None:
    class Empty(Dataset[Tensor]):
        def __len__(self) -> int:
            return 0

    data = DataLoader(Empty(), 4, sampler=range(0))
    with pytest.raises(ValueError, match="train must be at least one batch, got 0"):
        as_batches("train", data, batch_size=4, shuffle=True, seed=0)


def test_anything_else_is_refused() -> None:
    with pytest.raises(
        TypeError, match="val must be LabeledTensors, Batches or a DataLoader, got 'Tensor'; wrap"
    ):
        as_batches("val", torch.zeros(3, 2), batch_size=4, shuffle=True, seed=0)
    with pytest.raises(TypeError, match="got 'TensorDataset'; wrap it in a DataLoader"):
        as_batches("val", TensorDataset(torch.zeros(3)), batch_size=4, shuffle=True, seed=0)
