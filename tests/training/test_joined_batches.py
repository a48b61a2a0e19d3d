"""Every network gets the batches of its own seed, whether joined or shared."""

from __future__ import annotations

import pytest
import torch
from tests.training.scenario import examples

from mlpkit.data import Batches
from mlpkit.training import TrainerConfig
from mlpkit.training._joined_batches import JoinedBatches

CPU = torch.device("cpu")


@pytest.mark.parametrize("seeds", [(0, 1, 0), (3, 3, 3)])
def test_each_has_the_order_of_its_seed(seeds: tuple[int, ...]) -> None:
    data = examples()
    configs = [TrainerConfig(batch_size=8, accumulate=3, seed=seed) for seed in seeds]
    joined = JoinedBatches(data, configs, CPU)
    assert joined.shared == (len(set(seeds)) == 1)
    found = [batch for window in joined.epoch(2) for batch in window]
    for number, seed in enumerate(seeds):
        for batch, wanted in zip(found, data.batches(8, seed=seed).epoch(2), strict=True):
            assert torch.equal(batch.own[number].inputs, wanted.inputs)
            whole = batch.whole.indices
            assert torch.equal(whole if joined.shared else whole[number], wanted.indices)
    assert [len(window) for window in joined.epoch(0)] == [3, 3, 2]


def test_batches_have_one_order() -> None:
    configs = [TrainerConfig(seed=seed) for seed in range(3)]
    joined = JoinedBatches(Batches(examples(), 8, seed=5), configs, CPU)
    assert joined.shared
    assert len(joined.sources) == 3
