"""A DataLoader as a source of batches: its order is a function of seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest
import torch
from tests.training.scenario import differences
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    TensorDataset,
)

from mlpkit.training import BatchSource
from mlpkit.training.batches import LoaderBatches


def loader(**options: object) -> DataLoader[tuple[Tensor, ...]]:
    """Return a loader over 21 examples, each its own number."""
    dataset = TensorDataset(torch.arange(21.0)[:, None], torch.arange(21))
    return DataLoader(dataset, 4, **options)  # type: ignore[arg-type]


def order(source: BatchSource, epoch: int, start: int = 0) -> list[list[int]]:
    """Return the targets of each batch."""
    return [batch.targets.tolist() for batch in source.epoch(epoch, start=start)]


def test_it_is_a_source_of_batches() -> None:
    assert isinstance(LoaderBatches(loader()), BatchSource)


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    source = LoaderBatches(loader(shuffle=True), seed=3)
    first = order(source, 1)
    torch.rand(5)
    assert order(source, 1) == first
    assert order(source, 2) != first
    assert order(LoaderBatches(loader(shuffle=True), seed=4), 1) != first
    assert sorted(target for batch in first for target in batch) == list(range(21))


@pytest.mark.parametrize("place", ["loader", "sampler", "batch_sampler"])
def test_a_generator_of_the_loader_does_not_change_that(place: str) -> None:
    """The order depends on its seed, but not on what has been drawn from it."""

    def source(seed: int) -> LoaderBatches:
        generator = torch.Generator().manual_seed(seed)
        if place == "loader":
            return LoaderBatches(loader(shuffle=True, generator=generator))
        sampler = RandomSampler(range(21), generator=generator)
        if place == "sampler":
            return LoaderBatches(loader(sampler=sampler))
        batches = BatchSampler(sampler, 4, drop_last=False)
        return LoaderBatches(DataLoader(loader().dataset, batch_sampler=batches))

    one, same, other = source(1), source(1), source(2)
    second = order(one, 1)
    assert order(one, 0) != second
    assert order(one, 1) == order(same, 1) == second
    assert order(one, 1, 3) == second[3:]
    assert order(other, 1) != second
    assert one.fingerprint == same.fingerprint != other.fingerprint


def test_any_start_gives_the_rest() -> None:
    source = LoaderBatches(loader(shuffle=True))
    whole = order(source, 0)
    for start in range(len(source) + 1):
        assert order(source, 0, start) == whole[start:]


def test_the_global_generator_stays_where_it_is() -> None:
    state = torch.get_rng_state()
    order(LoaderBatches(loader(shuffle=True)), 0)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("drop_last", [False, True])
def test_it_counts_as_torch_does(*, drop_last: bool) -> None:
    source = LoaderBatches(loader(drop_last=drop_last))
    batches = order(source, 0)
    assert len(source) == len(batches)
    assert source.num_examples == sum(map(len, batches))


def test_weights_come_third_and_positions_are_unknown() -> None:
    """A loader does not tell which examples it takes."""
    dataset = TensorDataset(torch.zeros(5, 1), torch.zeros(5), torch.arange(5.0))
    batches = list(LoaderBatches(DataLoader(dataset, 2)).epoch(0, start=1))
    weights = [batch.weights for batch in batches]
    assert all(weight is not None for weight in weights)
    assert [batch.indices.tolist() for batch in batches] == [[-1, -1], [-1]]
    assert differences(weights, [torch.tensor([2.0, 3.0]), torch.tensor([4.0])]) == []


def test_the_fingerprint_knows_content_and_order() -> None:
    one = LoaderBatches(loader()).fingerprint
    assert LoaderBatches(loader()).fingerprint == one
    assert LoaderBatches(loader(shuffle=True)).fingerprint != one
    assert LoaderBatches(loader(), seed=1).fingerprint != one
    changed = TensorDataset(torch.arange(21.0)[:, None] + 1e-6, torch.arange(21))
    assert LoaderBatches(DataLoader(changed, 4)).fingerprint != one


def test_other_batches_are_refused() -> None:
    dataset = TensorDataset(torch.zeros(5, 1))
    with pytest.raises(TypeError, match=r"a batch of a DataLoader must be \(inputs, targets\)"):
        order(LoaderBatches(DataLoader(dataset, 2)), 0)
    examples = DataLoader(TensorDataset(torch.zeros(5, 6), torch.zeros(5)), batch_size=None)
    with pytest.raises(ValueError, match=r"got \(\); give the DataLoader a batch_size$"):
        order(LoaderBatches(examples), 0)


def test_the_length_is_that_of_a_batch_sampler() -> None:
    dataset = TensorDataset(torch.arange(5.0)[:, None], torch.arange(5))
    batches = [[0, 3], [1], [4, 2, 0]]
    source = LoaderBatches(DataLoader(dataset, batch_sampler=batches))
    assert (len(source), source.num_examples) == (3, None)
    assert order(source, 0, 1) == batches[1:]
    assert source.fingerprint != LoaderBatches(DataLoader(dataset, 2)).fingerprint


def test_a_data_set_can_yield_whole_batches() -> None:
    """Without automatic batching an item is a batch."""
    items = [(torch.zeros(n, 1), torch.arange(n)) for n in (2, 3)]
    source = LoaderBatches(DataLoader(cast("Dataset[tuple[Tensor, ...]]", items), batch_size=None))
    assert (len(source), source.num_examples) == (2, None)
    assert order(source, 0) == [[0, 1], [0, 1, 2]]


@pytest.mark.parametrize(("drop_last", "number"), [(False, 5), (True, 4)])
def test_an_iterable_may_know_its_length(*, drop_last: bool, number: int) -> None:
    class Five(IterableDataset[tuple[Tensor, Tensor]]):
        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            return ((torch.zeros(1), torch.tensor(n)) for n in range(5))

        def __len__(self) -> int:
            return 5

    source = LoaderBatches(DataLoader(Five(), 2, drop_last=drop_last))
    assert source.num_examples == number
    assert sum(map(len, order(source, 0))) == number
    assert len(source) == len(order(source, 0))


def test_a_stream_has_no_length() -> None:
    class Stream(IterableDataset[tuple[Tensor, Tensor]]):
        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            yield torch.zeros(1), torch.zeros(1)

    source = LoaderBatches(DataLoader(Stream(), 2))
    assert source.num_examples is None
    with pytest.raises(TypeError):
        len(source)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors", "ignore:Sparse")
@pytest.mark.parametrize("kind", ["nested", "jagged", "sparse"])
@pytest.mark.parametrize("place", ["inputs", "targets", "weights"])
def test_batches_of_nested_and_sparse_tensors_are_refused(kind: str, place: str) -> None:
    rows = [torch.ones(2), torch.ones(3)]
    if kind == "sparse":
        odd = torch.eye(2).to_sparse()
    else:
        layout = torch.jagged if kind == "jagged" else torch.strided
        odd = torch.nested.nested_tensor(rows, layout=layout)
    batch = {"inputs": torch.ones(2, 4), "targets": torch.zeros(2), "weights": torch.ones(2)}
    batch[place] = odd
    given = tuple(batch.values())
    numbers = cast("Dataset[tuple[Tensor, ...]]", [0, 1])
    loader = DataLoader(numbers, 2, collate_fn=lambda _: given)
    found = r"torch\.sparse_coo" if kind == "sparse" else "a nested one"
    message = rf"^{place} of a DataLoader must be dense tensors, got {found}; convert it in the col"
    with pytest.raises(TypeError, match=message):
        next(iter(LoaderBatches(loader).epoch(0)))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", ["inputs", "targets"])
def test_values_that_are_not_finite_are_named(value: float, place: str) -> None:
    tensors = {"inputs": torch.ones(4, 2), "targets": torch.zeros(4)}
    tensors[place][2] = value
    loader = DataLoader(TensorDataset(*tensors.values()), 2)
    message = f"^{place} of a DataLoader must be finite, got NaN or infinity; "
    with pytest.raises(ValueError, match=message):
        list(LoaderBatches(loader).epoch(0))
