"""Inputs in other units than the statistics of a model are recognized."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mlpkit.data import LabeledTensors, digits
from mlpkit.models._input_range import ObservedBatches, find_range_error

BYTES = torch.randint(0, 256, (40, 12), dtype=torch.uint8)
UNIT = BYTES / 255
DIGITS = digits().train.inputs[:, :, 2:6].flatten(1).float()


def statistics(inputs: Tensor, *, of_each_feature: bool = False) -> tuple[Tensor, Tensor]:
    """Return mean and std of training inputs."""
    values = inputs.double()
    if of_each_feature:
        return values.mean(0), values.std(0)
    return values.mean(), values.std()


@pytest.mark.parametrize("of_each_feature", [False, True])
@pytest.mark.parametrize(
    ("trained", "given"),
    [
        (BYTES, UNIT),
        (BYTES, UNIT.double()),
        (BYTES, UNIT * 2 - 1),
        (BYTES, UNIT[:2]),
        (DIGITS, DIGITS / 16),
        (UNIT, BYTES),
        (UNIT, BYTES.float()),
        (UNIT, BYTES[3]),
    ],
)
def test_other_units_are_recognized(
    trained: Tensor, given: Tensor, *, of_each_feature: bool
) -> None:
    found = find_range_error(given, *statistics(trained + 0.0, of_each_feature=of_each_feature))
    assert found.message is not None
    assert found.is_conclusive


@pytest.mark.parametrize(
    ("trained", "given"),
    [
        (BYTES, BYTES),
        (BYTES, BYTES.float()),
        (BYTES, BYTES[:1]),
        (BYTES, torch.zeros(5, 12)),
        (BYTES, torch.full((5, 12), 255.0)),
        (BYTES, torch.zeros(5, 12, dtype=torch.uint8)),
        (BYTES, (BYTES > 9).to(torch.uint8)),
        (UNIT, UNIT),
        (UNIT, UNIT[0]),
        (UNIT, UNIT * 4 - 1),
        (torch.randn(90, 3) * 50, torch.tensor([[0.5, 0.2, 0.1]])),
        (torch.randn(90, 3).exp() * 20, torch.randn(9, 3).exp() * 20),
        (torch.randn(90, 3) * 1e-6, torch.randn(9, 3) * 1e-6),
    ],
)
def test_the_same_units_are_not(trained: Tensor, given: Tensor) -> None:
    assert find_range_error(given, *statistics(trained)).message is None


def test_what_says_nothing_is_not_conclusive() -> None:
    """A blank image, a few small values, and tensors without values."""
    mean, std = statistics(BYTES)
    for inputs in (torch.zeros(2, 12), UNIT[:1, :3], UNIT.to("meta")):
        assert find_range_error(inputs, mean, std) == (None, False)
    assert find_range_error(BYTES.float(), mean, std) == (None, True)
    assert find_range_error(BYTES, mean.to("meta"), std.to("meta")) == (None, False)


def test_observed_batches_are_those_of_the_source() -> None:
    seen: list[Tensor] = []
    source = LabeledTensors(BYTES, torch.arange(40)).batches(16, seed=3)
    observed = ObservedBatches(source, seen.append)
    assert (len(observed), observed.num_examples) == (3, 40)
    assert observed.fingerprint == source.fingerprint
    for one, two in zip(observed.epoch(1, start=1), source.epoch(1, start=1), strict=True):
        assert torch.equal(one.inputs, two.inputs)
        assert torch.equal(seen[-1], two.inputs)
    assert len(seen) == 2


def test_tables_with_columns_of_different_scale_are_not_pixels() -> None:
    """Neither features of their own scale, nor an outlier, nor rows in the order of their size."""
    mean = torch.linspace(-100, 100, 20)
    given = torch.randn(100, 20) * 0.1 + mean
    assert find_range_error(given, mean, torch.full((20,), 0.1)).message is None
    std = torch.tensor([1e3] + 15 * [0.3])
    small = torch.cat([torch.zeros(8, 1), torch.rand(8, 15)], 1)
    assert find_range_error(small, torch.zeros(16), std).message is None
    one_hot = torch.cat([torch.eye(20), torch.randint(0, 2, (20, 1)) * 900.0], 1)
    assert find_range_error(one_hot[:1] * (one_hot[:1] <= 1), *statistics(one_hot)).message is None
    two = torch.cat([torch.rand(2000, 16), torch.rand(2000, 16) * 100])
    assert find_range_error(two, *statistics(two)).message is None
    outlier = torch.randn(2000, 4)
    outlier[7] = 1e4
    assert find_range_error(outlier[7:8], *statistics(outlier)).message is None
