"""A batch of one example is refused in words of this library, before a step where it is known."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from mlpkit import MLP
from mlpkit.data import Batches, LabeledTensors
from mlpkit.training import BatchLike, Trainer, TrainerConfig, TrainingData, fit_many

INPUTS, TARGETS = torch.randn(17, 4), torch.arange(17) % 3
DATA = LabeledTensors(INPUTS, TARGETS)
PAIRS = TensorDataset(INPUTS, TARGETS)
CONFIG = TrainerConfig(epochs=1, batch_size=8, progress=False)
LEFT_OVER = "batch_size must be a divisor that leaves no last batch of one of 17 examples, got 8"


class Stream(IterableDataset[tuple[Tensor, Tensor]]):
    """The examples without a known number."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(INPUTS, TARGETS, strict=True)


def network() -> nn.Module:
    """Return a module of torch alone."""
    return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))


@pytest.mark.parametrize("build", [network, lambda: MLP(4, (4,), 3, norm="batch")])
@pytest.mark.parametrize("data", [DATA, Batches(DATA, 8), DataLoader(PAIRS, 8)])
def test_a_last_batch_of_one_is_refused_before_the_first_step(
    build: type[nn.Module], data: TrainingData
) -> None:
    trainer = Trainer(build(), CONFIG)
    with pytest.raises(ValueError, match=LEFT_OVER):
        trainer.fit(data)
    with pytest.raises(ValueError, match=LEFT_OVER):
        trainer.find_lr(data)
    assert trainer.state.step == 0


def test_several_networks_are_checked_too() -> None:
    with pytest.raises(ValueError, match=LEFT_OVER):
        fit_many([network(), network()], DATA, config=CONFIG)


def test_batches_of_one_are_refused() -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 2 for batch norm, got 1"):
        Trainer(network(), CONFIG).fit(DataLoader(PAIRS, 1))


@pytest.mark.parametrize(
    "data", [DataLoader(PAIRS, batch_sampler=[[0, 1, 2], [3]]), DataLoader(Stream(), 8)]
)
def test_an_unknown_size_is_refused_in_its_step(data: TrainingData) -> None:
    config = TrainerConfig(steps_per_epoch=3, epochs=1, progress=False)
    with pytest.raises(ValueError, match="a batch of train must be of at least 2") as found:
        Trainer(network(), config).fit(data)
    assert "per channel" in str(found.value.__cause__)


@pytest.mark.parametrize(
    "data",
    [DataLoader(PAIRS, 8, drop_last=True), DataLoader(PAIRS, 5), Batches(DATA, 8, drop_last=True)],
)
def test_other_batches_are_trained_on(data: TrainingData) -> None:
    assert Trainer(network(), CONFIG).fit(data).stop_reason == "completed"


def test_behind_a_convolution_one_example_is_enough() -> None:
    model = nn.Sequential(
        nn.Unflatten(1, (1, 4)),
        nn.Conv1d(1, 2, 3),
        nn.BatchNorm1d(2),
        nn.Flatten(),
        nn.Linear(4, 3),
    )
    assert Trainer(model, CONFIG).fit(DATA).stop_reason == "completed"


def test_another_error_of_a_step_is_unchanged() -> None:
    def objective(model: nn.Module, batch: BatchLike) -> Tensor:
        raise ValueError(f"{type(model).__name__} on {len(batch.targets)} examples")

    trainer = Trainer(network(), CONFIG, objective=objective)
    with pytest.raises(ValueError, match="Sequential on 1 examples") as found:
        trainer.fit(DataLoader(PAIRS, batch_sampler=[[0]]))
    assert found.value.__cause__ is None
