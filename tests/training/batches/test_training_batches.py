"""Which batches a run trains on, for each kind of data and length of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
import torch
from tests.training.scenario import Passes, examples
from torch import Tensor
from torch.utils.data import DataLoader, Sampler, TensorDataset

from mlpkit.data import Batches
from mlpkit.training import BatchLike
from mlpkit.training.batches import (
    ContinuedBatches,
    LoaderBatches,
    StreamBatches,
    can_be_read_again,
    length_of,
    training_batches,
)


class Endless(Sampler[list[int]]):
    """Batches without an end."""

    def __iter__(self) -> Iterator[list[int]]:
        while True:
            yield [0, 1]


DATA: TensorDataset = TensorDataset(torch.zeros(4, 1), torch.zeros(4))


class Own(Batches):
    """A source with a state."""

    def state_dict(self) -> dict[str, object]:
        return {}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        assert not state


def test_a_pass_stays_an_epoch() -> None:
    loader: DataLoader[tuple[Tensor, ...]] = DataLoader(DATA, 2)
    for source in (Batches(examples(), 8), LoaderBatches(loader), Own(examples(), 8)):
        assert training_batches(source, None) is source


def test_a_finite_source_is_continued() -> None:
    loader: DataLoader[tuple[Tensor, ...]] = DataLoader(DATA, 2)
    for source in (Batches(examples(), 8), LoaderBatches(loader)):
        found = training_batches(source, 3)
        assert isinstance(found, ContinuedBatches)
        assert can_be_read_again(found)
        assert length_of(source) == len(source)


def test_a_loader_without_an_end_is_a_stream() -> None:
    source = LoaderBatches(DataLoader(DATA, batch_sampler=Endless()))
    assert length_of(source) is None
    found = training_batches(source, 3)
    assert isinstance(found, StreamBatches)
    assert not can_be_read_again(found)
    assert len(list(found.epoch(0))) == 3
    assert isinstance(training_batches(LoaderBatches(DataLoader(Passes(), 8)), 3), StreamBatches)


def test_a_source_with_a_state_has_its_own_length() -> None:
    source = Own(examples(), 8)
    assert not can_be_read_again(source)
    batches: list[BatchLike] = list(source.epoch(0))
    assert len(batches) == 8
    message = "steps_per_epoch must be None for a BatchSource with state_dict, got 3; return the nu"
    with pytest.raises(ValueError, match=message):
        training_batches(source, 3)
