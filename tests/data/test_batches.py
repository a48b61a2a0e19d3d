"""Batches: their order is a function of seed and epoch alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import cast

import pytest
import torch
from torch import Tensor

from mlpkit.data import Augmentation, Batch, Batches, LabeledTensors, RandomAffine


def numbered(count: int, *, num_classes: int = 3) -> LabeledTensors:
    """Return examples whose input, weight and target are functions of their index."""
    positions = torch.arange(count)
    inputs = positions.float().unsqueeze(1)
    return LabeledTensors(inputs, positions % num_classes, weights=positions.float() + 0.5)


def order(batches: Batches, epoch: int) -> list[int]:
    return [index for batch in batches.epoch(epoch) for index in batch.indices.tolist()]


def check_rows(batch: Batch, num_classes: int = 3) -> None:
    """Check that inputs, targets and weights belong to the indices of the batch."""
    assert batch.weights is not None
    assert torch.equal(batch.inputs[:, 0], batch.indices.float())
    assert torch.equal(batch.targets, batch.indices % num_classes)
    assert torch.equal(batch.weights, batch.indices.float() + 0.5)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("drop_last", [True, False])
def test_an_epoch_holds_every_example_once(shuffle: bool, drop_last: bool) -> None:
    batches = numbered(23).batches(5, shuffle=shuffle, drop_last=drop_last)
    sizes = [len(batch.indices) for batch in batches.epoch(0)]
    assert sizes == [5, 5, 5, 5] + ([] if drop_last else [3])
    assert len(batches) == len(sizes)
    assert batches.num_examples == sum(sizes)
    seen = order(batches, 0)
    assert len(set(seen)) == len(seen) == batches.num_examples
    for batch in batches.epoch(0):
        check_rows(batch)


def test_without_shuffling_batches_are_consecutive_copies() -> None:
    """A model that changes its input in place does not change the data."""
    data = numbered(7)
    before = data.inputs.clone()
    batches = list(data.batches(3, shuffle=False).epoch(4))
    assert [batch.indices.tolist() for batch in batches] == [[0, 1, 2], [3, 4, 5], [6]]
    assert torch.equal(torch.cat([batch.inputs for batch in batches]), before)
    for batch in batches:
        batch.inputs.zero_()
        batch.targets.zero_()
    assert torch.equal(data.inputs, before)


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    """Equal objects agree in any order of access; all 25 pairs of seed and epoch differ."""
    data = numbered(50)
    orders = {
        (seed, epoch): tuple(order(Batches(data, 8, seed=seed), epoch))
        for seed in range(5)
        for epoch in range(5)
    }
    assert len(set(orders.values())) == 25
    batches = Batches(data, 8, seed=2)
    for epoch in reversed(range(5)):
        assert tuple(order(batches, epoch)) == orders[2, epoch]


@pytest.mark.parametrize("balanced", [True, False])
def test_the_order_never_changes(balanced: bool) -> None:
    """A change of these numbers would break the reproducibility of earlier runs."""
    expected = {
        False: [4, 6, 0, 1, 10, 8, 5, 2, 3, 9, 7, 11],
        True: [10, 2, 9, 0, 4, 5, 6, 7, 11, 3, 8, 1],
    }
    assert order(numbered(12).batches(4, seed=1, balanced=balanced), 2) == expected[balanced]


@pytest.mark.parametrize("balanced", [True, False])
def test_an_epoch_continues_exactly_at_any_batch(balanced: bool) -> None:
    data = numbered(31)
    augment = RecordCalls()
    batches = data.batches(4, seed=9, balanced=balanced, augment=augment)
    whole = list(batches.epoch(3))
    for start in range(len(batches) + 1):
        rest = list(batches.epoch(3, start=start))
        assert len(rest) == len(whole) - start
        for batch, expected in zip(rest, whole[start:], strict=True):
            assert torch.equal(batch.indices, expected.indices)
            assert torch.equal(batch.inputs, expected.inputs)


@pytest.mark.parametrize("sizes", [(50, 7, 3), (1, 60), (20, 20, 20), (5, 1, 1, 1)])
def test_balanced_epochs_draw_every_class_equally_often(sizes: tuple[int, ...]) -> None:
    """Counts per class, per example and per round are balanced over several epochs."""
    targets = torch.cat([torch.full((size,), label) for label, size in enumerate(sizes)])
    data = LabeledTensors(torch.zeros(len(targets), 1), targets)
    batches = data.batches(8, balanced=True, seed=1)
    for epoch in range(5):
        drawn = torch.tensor(order(batches, epoch))
        assert len(drawn) == len(targets) == batches.num_examples
        counts = torch.bincount(targets[drawn], minlength=len(sizes))
        assert int(counts.max() - counts.min()) <= 1
        for round_of_classes in torch.split(targets[drawn], len(sizes)):
            assert len(set(round_of_classes.tolist())) == len(round_of_classes)
        for label, size in enumerate(sizes):
            times = Counter(drawn[targets[drawn] == label].tolist())
            low = counts[label] // size
            assert set(times.values()) <= {int(low), int(low) + 1}


def test_balanced_epochs_omit_different_examples_of_a_common_class() -> None:
    targets = torch.tensor([0] * 30 + [1] * 2)
    data = LabeledTensors(torch.zeros(32, 1), targets)
    batches = data.batches(8, balanced=True)
    seen = {index for epoch in range(12) for index in order(batches, epoch)}
    assert seen == set(range(32))


@dataclass
class RecordCalls:
    """An augmentation that stores its arguments and adds a function of them to the images."""

    calls: list[tuple[int, int, list[int]]] = field(default_factory=list)

    def __call__(self, images: Tensor, *, seed: int, epoch: int, indices: Tensor) -> Tensor:
        self.calls.append((seed, epoch, indices.tolist()))
        return images + 100 * seed + 1000 * epoch


def test_augmentation_gets_seed_epoch_and_indices() -> None:
    augment = RecordCalls()
    batches = numbered(5).batches(3, seed=7, augment=augment)
    first, second = batches.epoch(2)
    assert augment.calls == [(7, 2, first.indices.tolist()), (7, 2, second.indices.tolist())]
    assert torch.equal(first.inputs[:, 0], first.indices + 2_700.0)


def test_augmentation_of_an_image_does_not_depend_on_its_batch() -> None:
    """Other batch sizes put an image together with other images and give the same result."""
    images = torch.randint(0, 256, (20, 12, 12), dtype=torch.uint8)
    data = LabeledTensors(images, torch.zeros(20).long())
    augment = RandomAffine(degrees=30)
    results = []
    for batch_size in (20, 3, 6):
        distorted = torch.zeros_like(images)
        for batch in Batches(data, batch_size, augment=augment, seed=4).epoch(1):
            distorted[batch.indices] = batch.inputs
        results.append(distorted)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    assert not torch.equal(results[0], images)


def test_the_fingerprint_covers_every_setting() -> None:
    data = numbered(30)
    variants = [
        data.batches(4),
        data.batches(5),
        data.batches(4, shuffle=False),
        data.batches(4, seed=1),
        data.batches(4, drop_last=True),
        data.batches(4, balanced=True),
        data.batches(4, augment=RandomAffine(degrees=3)),
        data.batches(4, augment=RandomAffine(degrees=4)),
        data.batches(4, augment=lambda images, **_: images),
        numbered(31).batches(4),
    ]
    assert len({variant.fingerprint for variant in variants}) == len(variants)
    assert data.batches(4).fingerprint == variants[0].fingerprint


def test_the_fingerprint_of_an_opaque_augmentation_holds_no_address() -> None:
    """Two objects with the default repr have the same fingerprint at different addresses."""
    data = numbered(3)
    first = data.batches(2, augment=Opaque())
    second = data.batches(2, augment=Opaque())
    assert repr(first.augment) != repr(second.augment)
    assert first.fingerprint == second.fingerprint


class Opaque(RecordCalls):
    """An augmentation whose repr shows an address."""

    __repr__ = object.__repr__


def test_invalid_settings_are_refused() -> None:
    data = numbered(6)
    with pytest.raises(ValueError, match="batch_size must be a positive integer, got 0"):
        data.batches(0)
    with pytest.raises(ValueError, match=r"batch_size must be at most .*\(6\) if drop_last is"):
        data.batches(7, drop_last=True)
    with pytest.raises(ValueError, match="shuffle must be True if balanced is True, got False"):
        data.batches(2, shuffle=False, balanced=True)
    with pytest.raises(ValueError, match="data must be a data set with examples, got LabeledTe"):
        data[:0].batches(2)
    with pytest.raises(ValueError, match=r"targets must be class indices .*got torch.float32"):
        LabeledTensors(torch.zeros(2), torch.zeros(2)).batches(1, balanced=True)
    with pytest.raises(ValueError, match=r"examples of every class .*got no examples of class 1"):
        LabeledTensors(torch.zeros(2), torch.tensor([0, 2])).batches(1, balanced=True)
    with pytest.raises(TypeError, match="shuffle must be True or False, got 1"):
        data.batches(2, shuffle=cast("bool", 1))


def test_a_wrong_epoch_is_refused_before_the_first_batch() -> None:
    batches = numbered(6).batches(2)
    with pytest.raises(ValueError, match="epoch must be a non-negative integer, got -1"):
        batches.epoch(-1)
    with pytest.raises(ValueError, match=r"start must be at most the number of batches \(3\), g"):
        batches.epoch(0, start=4)


@pytest.mark.parametrize(
    ("augment", "found"), [(3, "3"), (RandomAffine, "<class 'mlpkit.data.augment._random_affine.")]
)
def test_an_augmentation_must_be_an_instance(augment: object, found: str) -> None:
    message = f"augment must be an augmentation or None, got {found}.*; pass an instance"
    with pytest.raises(TypeError, match=message):
        Batches(numbered(5), 2, augment=cast("Augmentation", augment))


@pytest.mark.parametrize("options", [{}, {"shuffle": False}, {"balanced": True}])
def test_an_epoch_equals_the_batches_gathered_at_its_indices(options: dict[str, int]) -> None:
    """This holds for every kind of order, with weights and with an augmentation."""
    inputs = torch.arange(40.0).view(20, 2)
    data = LabeledTensors(inputs, torch.arange(20) % 3, weights=torch.rand(20))

    def moved(images: Tensor, *, seed: int, epoch: int, indices: Tensor) -> Tensor:
        return images + seed + 10 * epoch + indices.unsqueeze(1)

    batches = Batches(data, 6, seed=3, augment=moved, **options)  # type: ignore[arg-type]  # flags and numbers
    for epoch, start in ((0, 0), (2, 1)):
        gathered = [
            batches.gather(i, epoch=epoch) for i in batches.batch_indices(epoch, start=start)
        ]
        expected = list(batches.epoch(epoch, start=start))
        assert len(gathered) == len(expected)
        for one, other in zip(gathered, expected, strict=True):
            assert other.weights is not None
            assert one.weights is not None
            for first, second in zip(one, other, strict=True):
                assert first is not None
                assert second is not None
                assert torch.equal(first, second)


class OnlyWhatIsRead:
    """Examples that have no attributes but those of the protocol, around a data set."""

    def __init__(self, data: LabeledTensors) -> None:
        self.inputs = data.inputs
        self.targets = data.targets
        self.weights = data.weights
        self.class_counts = data.class_counts
        self.fingerprint = data.fingerprint
        self.device = data.device

    def __len__(self) -> int:
        return len(self.inputs)


@pytest.mark.parametrize("balanced", [True, False])
def test_any_object_with_the_attributes_of_the_protocol_is_accepted(balanced: bool) -> None:
    """The batches and the fingerprint are those of the data set that it wraps."""
    data = numbered(17)
    batches = Batches(OnlyWhatIsRead(data), 4, seed=3, balanced=balanced)
    expected = data.batches(4, seed=3, balanced=balanced)
    assert batches.fingerprint == expected.fingerprint
    assert order(batches, 2) == order(expected, 2)
    for batch in batches.epoch(2):
        check_rows(batch)


def test_examples_have_inputs() -> None:
    with pytest.raises(TypeError, match="data must be LabeledTensors, got Tensor; LabeledTensors"):
        Batches(torch.rand(4, 2), 2)  # type: ignore[arg-type]  # no examples
