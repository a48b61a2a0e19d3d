"""Several processes make the steps of one: the same loss, gradients and weights."""

from __future__ import annotations

import functools
import math

import pytest
import torch
from tests.training.distributed.processes import run_ranks
from tests.training.distributed.runs import (
    KINDS,
    RANDOM_KINDS,
    Found,
    examples,
    network,
    train_kind,
    train_kinds,
    train_twice,
)

from mlpkit.training import Trainer, TrainerConfig

pytestmark = pytest.mark.distributed

of_ranks = functools.cache(functools.partial(run_ranks, train_kinds))


@functools.cache
def of_one_process(kind: str) -> Found:
    return train_kind(kind)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_processes_train_the_weights_of_one(kind: str, size: int) -> None:
    """Up to the rounding of sums in another order, over 2 epochs with a shorter last batch."""
    one, many = of_one_process(kind), [every[kind] for every in of_ranks(size)]
    for one_of_many in many:
        for name, expected in one.weights.items():
            torch.testing.assert_close(one_of_many.weights[name], expected, rtol=1e-5, atol=1e-6)
        assert (one_of_many.steps, one_of_many.examples) == (one.steps, one.examples)
        for row, expected_row in zip(one_of_many.history, one.history, strict=True):
            assert row.keys() == expected_row.keys()
            for column, value in row.items():
                other = expected_row[column]
                assert value == other or math.isclose(value or 0.0, other or 0.0, rel_tol=1e-4)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("kind", [*KINDS, *RANDOM_KINDS])
def test_every_process_has_the_same_bits(kind: str, size: int) -> None:
    """Weights and history; the processes never exchange parameters after the first step."""
    first, *others = [every[kind] for every in of_ranks(size)]
    for other in others:
        assert other.history == first.history
        assert all(torch.equal(other.weights[name], first.weights[name]) for name in first.weights)


def test_an_objective_that_computes_gradients_itself_has_those_of_all_processes() -> None:
    """Summed after the backward pass, or by fully_shard: two ways to the same weights.

    A sum of two numbers has no order. Virtual adversarial training normalizes a small gradient, so
    it would enlarge the differences between two orders.
    """
    first = of_ranks(2)[0]
    replicated, sharded = (first[kind] for kind in RANDOM_KINDS)
    for name, value in replicated.weights.items():
        torch.testing.assert_close(sharded.weights[name], value, rtol=1e-5, atol=1e-6)


def test_a_repeated_run_has_the_same_bits() -> None:
    """With dropout, whose masks differ between processes, and batch norm."""
    runs = run_ranks(train_twice, 2)
    for first, second in runs:
        assert first.history == second.history == runs[0][0].history
        for name, value in first.weights.items():
            assert torch.equal(value, second.weights[name])
            assert torch.equal(value, runs[0][0].weights[name])


def test_one_process_of_a_group_has_the_bits_of_a_process_without_one() -> None:
    """The path of several processes is not taken."""
    alone = train_kind("plain")
    (in_group,) = run_ranks(train_kind, 1, "plain")
    assert in_group.history == alone.history
    assert all(torch.equal(in_group.weights[name], alone.weights[name]) for name in alone.weights)


def test_the_oracle_sees_another_batch() -> None:
    """The tolerance is smaller than the effect of one missing example in each batch."""
    train, val = examples()
    config = TrainerConfig(epochs=2, batch_size=49, progress=False)
    trainer = Trainer(network(), config)
    trainer.fit(train, val)
    expected = of_one_process("plain").weights
    difference = max(
        float((value - expected[name]).abs().max())
        for name, value in trainer.model.state_dict().items()
    )
    assert difference > 1e-3
