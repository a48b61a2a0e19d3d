"""A loader that is read on from epoch to epoch, with and without a state."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import cast

import pytest
import torch
from tests.training.scenario import Passes, differences
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from torchdata.stateful_dataloader import StatefulDataLoader  # type: ignore[import-untyped]

from mlpkit.training import BatchSource
from mlpkit.training.batches import LoaderBatches, StreamBatches, training_batches
from mlpkit.training.batches._stream import StatefulStream, state_holder


class Numbers(IterableDataset[tuple[Tensor, Tensor]]):
    """Passes over so many numbers, which begin at 0 each time."""

    def __init__(self, count: int = 10) -> None:
        self.count = count

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return ((torch.tensor([float(n)]), torch.tensor(n)) for n in range(self.count))


def stream(loader: DataLoader[tuple[Tensor, Tensor]], length: int = 3) -> BatchSource:
    return training_batches(LoaderBatches(loader), length)


def read(source: BatchSource, epoch: int = 0, start: int = 0) -> list[list[int]]:
    return [batch.targets.tolist() for batch in source.epoch(epoch, start=start)]


def tensors(source: BatchSource, epochs: int) -> list[Tensor]:
    return [batch.inputs for epoch in range(epochs) for batch in source.epoch(epoch)]


def test_epochs_continue_and_passes_begin_where_one_ends() -> None:
    source = stream(DataLoader(Numbers(), 4))
    assert isinstance(source, StreamBatches)
    assert not isinstance(source, StatefulStream)
    assert len(source) == 3
    assert read(source) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert read(source, 1, start=1) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert read(source, 2) == [[8, 9], [0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.mark.parametrize("length", [0, 1])
def test_a_pass_without_a_batch_is_an_error(length: int) -> None:
    """From the beginning, or since an iterator cannot be read twice."""

    class Once(IterableDataset[tuple[Tensor, Tensor]]):
        items = iter([(torch.zeros(2, 1), torch.zeros(2))] * length)

        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            return self.items

    message = f"with at least one batch in each pass, got none after {length} batches; __iter__ mu"
    with pytest.raises(ValueError, match=message):
        read(stream(DataLoader(Once(), batch_size=None)))


def test_random_numbers_are_private_and_a_function_of_the_seed() -> None:
    """The caller's generator stays where it is, and does not matter."""
    state = torch.get_rng_state()
    first = tensors(stream(DataLoader(Passes(), 4)), 8)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(7)
    assert differences(tensors(stream(DataLoader(Passes(), 4)), 8), first) == []
    other = training_batches(LoaderBatches(DataLoader(Passes(), 4), seed=1), 3)
    assert differences(tensors(other, 8), first) != []


def loader(kind: str) -> DataLoader[tuple[Tensor, Tensor]]:
    if kind == "data set":
        return DataLoader(Passes(), 4)
    if kind == "whole pass":  # the data set has begun again when its last batch is read
        return DataLoader(Passes(), 32)
    if kind == "stateful data set":
        return cast("DataLoader[tuple[Tensor, Tensor]]", StatefulDataLoader(Passes(), 4))
    data = TensorDataset(torch.arange(10.0)[:, None], torch.arange(10))
    found = StatefulDataLoader(data, 4, shuffle=True)
    return cast("DataLoader[tuple[Tensor, Tensor]]", found)


@pytest.mark.parametrize("kind", ["data set", "whole pass", "stateful data set", "map-style"])
def test_a_state_restores_every_position(kind: str) -> None:
    """In a new object, whatever was drawn before; the state does not change the stream."""
    given, rest = loader(kind), 8
    whole = stream(given, rest)
    assert isinstance(whole, StatefulStream)
    states, batches, caller = [], [], torch.get_rng_state()
    for _ in range(rest):
        states.append(copy.deepcopy(whole.state_dict()))
        batches += [batch.inputs for batch in whole.epoch(0, start=rest - 1)]
    last = whole.state_dict()
    assert torch.equal(torch.get_rng_state(), caller)
    for done, state in enumerate(states):
        torch.rand(3)
        other = stream(loader(kind), rest)
        assert isinstance(other, StatefulStream)
        other.load_state_dict(state)
        assert differences(other.state_dict(), state) == []
        found = [batch.inputs for batch in other.epoch(0, start=done)]
        assert differences(found, batches[done:]) == []
        assert differences(other.state_dict(), last) == []


def test_a_new_object_continues_the_same_loader_only() -> None:
    for given in (DataLoader(Numbers(), 4), DataLoader(Passes(), 4)):
        first, second, other = (stream(one) for one in (given, given, copy.deepcopy(given)))
        tensors(first, 1)
        expected = tensors(stream(copy.deepcopy(given)), 1)
        assert isinstance(second, StreamBatches)
        assert isinstance(other, StreamBatches)
        for one in (second, other):
            one.continue_from(first)
        position = second._read
        assert (position, other._read) == (3, 0)
        if isinstance(given.dataset, Numbers):
            assert read(second) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
            assert differences(tensors(other, 1), expected) == []


def test_what_has_the_state() -> None:
    """Workers have copies of the data set, whose positions nobody knows."""
    loader = DataLoader(Passes(), 4)
    holder: object = state_holder(loader)
    assert holder is loader.dataset
    assert state_holder(DataLoader(Passes(), 4, num_workers=1)) is None
    assert state_holder(DataLoader(Numbers(), 4)) is None
    stateful = StatefulDataLoader(Passes(), 4)
    assert state_holder(stateful) is stateful
