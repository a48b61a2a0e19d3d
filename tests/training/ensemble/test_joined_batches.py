"""Every network gets the batches of its own seed, whether joined or shared."""

from __future__ import annotations

import pytest
import torch
from tests.training.scenario import examples, noise

from mlpkit.data import Batches, LabeledTensors
from mlpkit.training import FilledConfig, TrainerConfig, fill_defaults
from mlpkit.training.ensemble._joined_batches import JoinedBatches

CPU = torch.device("cpu")


def filled(config: TrainerConfig) -> FilledConfig:
    return fill_defaults(config, task="classification", num_examples=61)


@pytest.mark.parametrize("seeds", [(0, 1, 0), (3, 3, 3)])
def test_each_has_the_order_of_its_seed(seeds: tuple[int, ...]) -> None:
    data = examples()
    configs = [
        filled(TrainerConfig(batch_size=8, gradient_accumulation_steps=3, seed=seed))
        for seed in seeds
    ]
    joined = JoinedBatches([data] * len(configs), configs, CPU)
    assert joined.shared == (len(set(seeds)) == 1)
    found = [batch for window in joined.epoch(2) for batch in window]
    for number, seed in enumerate(seeds):
        for batch, wanted in zip(found, data.batches(8, seed=seed).epoch(2), strict=True):
            assert torch.equal(batch.per_network[number].inputs, wanted.inputs)
            whole = batch.combined.indices
            assert torch.equal(whole if joined.shared else whole[number], wanted.indices)
    assert [len(window) for window in joined.epoch(0)] == [3, 3, 2]


def test_batches_have_one_order() -> None:
    configs = [filled(TrainerConfig(seed=seed)) for seed in range(3)]
    joined = JoinedBatches([Batches(examples(), 8, seed=5)] * 3, configs, CPU)
    assert joined.shared
    assert len(joined.sources) == 3


class Augmented:
    """Examples that are augmented by the seed of their order."""

    def __init__(self) -> None:
        self._data = examples()

    def __len__(self) -> int:
        return len(self._data)

    def batches(
        self, batch_size: int, *, shuffle: bool = True, seed: int = 0, drop_last: bool = False
    ) -> Batches:
        return Batches(
            self._data, batch_size, shuffle=shuffle, seed=seed, drop_last=drop_last, augment=noise
        )


def weighted() -> LabeledTensors:
    data = examples()
    return LabeledTensors(data.inputs, data.targets, weights=torch.arange(float(len(data))))


@pytest.mark.parametrize("data", [examples(), weighted(), Augmented()], ids=["", "w", "augmented"])
def test_every_part_of_a_batch_is_joined(data: LabeledTensors | Augmented) -> None:
    seeds = (4, 7)
    configs = [filled(TrainerConfig(batch_size=8, seed=seed)) for seed in seeds]
    found = [window[0] for window in JoinedBatches([data] * len(configs), configs, CPU).epoch(1)]
    assert len(found) == 8
    for number, seed in enumerate(seeds):
        for joined, wanted in zip(found, data.batches(8, seed=seed).epoch(1), strict=True):
            for name in ("inputs", "targets", "weights", "indices"):
                expected = getattr(wanted, name)
                own = getattr(joined.per_network[number], name)
                whole = getattr(joined.combined, name)
                if expected is None:
                    assert own is None
                    assert whole is None
                else:
                    assert torch.equal(own, expected)
                    assert torch.equal(whole[number], expected)


def test_networks_can_have_other_examples() -> None:
    data = examples()
    parts = [data.subset(range(40)), data.subset(range(21, 61)), data.subset(range(40))]
    configs = [filled(TrainerConfig(batch_size=16, seed=seed)) for seed in (1, 1, 2)]
    joined = JoinedBatches(parts, configs, CPU)
    assert not joined.shared
    sources = [part.batches(16, seed=seed) for part, seed in zip(parts, (1, 1, 2), strict=True)]
    for window, *wanted in zip(joined.epoch(1), *(one.epoch(1) for one in sources), strict=True):
        (batch,) = window
        for number, one in enumerate(wanted):
            assert torch.equal(batch.per_network[number].inputs, one.inputs)
            assert torch.equal(batch.combined.inputs[number], one.inputs)
            assert torch.equal(batch.combined.targets[number], one.targets)


@pytest.mark.parametrize("other", ["weights", "width", "type"])
def test_examples_that_cannot_be_stacked_are_refused(other: str) -> None:
    data = examples()
    changed = {
        "weights": LabeledTensors(data.inputs, data.targets, weights=torch.ones(len(data))),
        "width": LabeledTensors(data.inputs[:, :2], data.targets),
        "type": LabeledTensors(data.inputs.double(), data.targets),
    }[other]
    configs = [filled(TrainerConfig())] * 2
    joined = JoinedBatches([data, changed], configs, CPU)
    with pytest.raises(ValueError, match=r"train\[1\] must be examples like those of train\[0\]"):
        next(joined.epoch(0))
