"""The batches of a fit have scikit-learn's order."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from sklearn.utils import shuffle  # type: ignore[import-untyped]

from mlpkit._protocols import Batch
from mlpkit.sklearn._batches import CurrentBatch, Inputs, ShuffledBatches

X = np.arange(14.0).reshape(7, 2)
WEIGHTS = torch.tensor([1.0, 0.0, 0.0, 0.0, 2.0, 0.5, 1.0])


def batches(
    inputs: Inputs, *, weights: torch.Tensor | None = None, seed: int | None = 0
) -> tuple[list[Batch], list[CurrentBatch]]:
    """Return the batches of two passes, and the description of each."""
    current, described, found = CurrentBatch(), [], []
    source = ShuffledBatches(
        inputs=inputs,
        targets=torch.arange(7.0),
        weights=weights,
        batch_size=3,
        num_passes=2,
        random=None if seed is None else np.random.RandomState(seed),
        current=current,
    )
    assert len(source) == 6
    assert source.num_examples == 14
    for batch in source.epoch(0):
        found.append(batch)
        one = dataclasses.replace(current)
        described.append(one)
    return found, described


def test_each_pass_shuffles_the_order_of_the_pass_before() -> None:
    found, described = batches(torch.from_numpy(X))
    random, order = np.random.RandomState(0), np.arange(7)
    for first in (0, 3):
        order = shuffle(order, random_state=random)
        indices = torch.cat([batch.indices for batch in found[first : first + 3]])
        assert indices.tolist() == order.tolist()
    for batch, one in zip(found, described, strict=True):
        assert torch.equal(batch.inputs, torch.from_numpy(X)[batch.indices])
        assert torch.equal(batch.targets, batch.indices.float())
        assert one.examples is batch
        assert one.weight == one.count == len(batch.indices)
    assert [one.is_last for one in described] == [False, False, True] * 2


def test_without_shuffling_the_order_is_that_of_the_data() -> None:
    found, _ = batches(torch.from_numpy(X), seed=None)
    assert [batch.indices.tolist() for batch in found[3:]] == [[0, 1, 2], [3, 4, 5], [6]]


@pytest.mark.parametrize("seed", [None, 1])
def test_sparse_inputs_are_the_same_numbers(seed: int | None) -> None:
    found, _ = batches(sp.csr_array(X), seed=seed)
    expected, _ = batches(torch.from_numpy(X), seed=seed)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.inputs, other.inputs)


def test_the_weight_of_a_batch_is_the_sum_or_one() -> None:
    found, described = batches(torch.from_numpy(X), weights=WEIGHTS, seed=None)
    assert [one.weight for one in described[:3]] == [1.0, 2.5, 1.0]
    assert found[1].weights is not None
    assert found[1].weights.tolist() == [0.0, 2.0, 0.5]
    _, described = batches(torch.from_numpy(X), weights=WEIGHTS.roll(-1), seed=None)
    assert described[0].weight == 1.0  # of examples without weight, so that nothing is divided by 0
