"""Averaged and best weights come into the model, and the trained ones are never lost."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
from tests.training.scenario import differences, everything, examples, noise, train
from torch import Tensor, nn

from mlpkit.data import Batches
from mlpkit.training import (
    AveragingConfig,
    Callback,
    CheckpointConfig,
    StepInfo,
    Trainer,
    TrainerConfig,
    WeightAverage,
)
from mlpkit.training.checkpoints import read_checkpoint
from mlpkit.training.optim import WeightSwapper

CONFIG = TrainerConfig(epochs=3, batch_size=8, progress=False)
DECAY = 0.8


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the weights."""
    return {name: value.clone() for name, value in model.state_dict().items()}


def by_hand(steps: list[dict[str, Tensor]], decay: float) -> dict[str, Tensor]:
    """Return sum(d^(n-i) w_i) / sum(d^(n-i)) over all steps, in float64."""
    factors = [decay ** (len(steps) - 1 - index) for index in range(len(steps))]
    return {
        name: sum(f * step[name].double() for f, step in zip(factors, steps, strict=True))  # type: ignore[misc]  # of one tensor or more
        / sum(factors)
        for name in steps[0]
    }


class Walk:
    """A model whose weights take random steps under a swapper, and all that it has been."""

    def __init__(self, averaging: AveragingConfig | None, *, steps: int = 5) -> None:
        self.model = nn.Linear(4, 3)
        self.num_reestimated = 0
        self.swapper = WeightSwapper(self.model, averaging, reestimate=self._reestimate)
        self.steps: list[dict[str, Tensor]] = []
        for step in range(steps):
            with torch.no_grad():
                for parameter in self.model.parameters():
                    parameter.add_(torch.randn_like(parameter))
            self.swapper.update(step)
            self.steps.append(weights_of(self.model))

    def _reestimate(self) -> None:
        self.num_reestimated += 1

    @property
    def average(self) -> dict[str, Tensor]:
        """The average of all steps, by hand."""
        return by_hand(self.steps, DECAY)

    def assert_averaged(self) -> None:
        """Compare the weights of the model with the average by hand."""
        for name, value in self.model.state_dict().items():
            torch.testing.assert_close(value, self.average[name].float())

    def assert_trained(self, state: Mapping[str, Tensor]) -> None:
        """Compare weights with those after the latest step, bit by bit."""
        assert differences(state, self.steps[-1]) == []


AVERAGING = AveragingConfig(decay=DECAY)


def test_the_average_is_there_within_the_block_only() -> None:
    walk = Walk(AVERAGING)
    assert walk.swapper.needs_swap
    for _ in range(2):
        with walk.swapper.averaged():
            walk.assert_averaged()
        walk.assert_trained(walk.model.state_dict())
    assert walk.num_reestimated == 2


def test_the_block_ends_with_the_trained_weights_after_an_exception() -> None:
    walk = Walk(AVERAGING)
    with pytest.raises(KeyError), walk.swapper.averaged():
        raise KeyError
    walk.assert_trained(walk.model.state_dict())


def test_the_trained_weights_are_known_whatever_the_model_holds() -> None:
    walk = Walk(AVERAGING)
    walk.assert_trained(walk.swapper.trained_weights())
    walk.swapper.load_averaged_weights()
    walk.assert_averaged()
    walk.assert_trained(walk.swapper.trained_weights())
    assert not walk.swapper.needs_swap
    with walk.swapper.averaged():
        walk.assert_averaged()
    assert walk.num_reestimated == 1, "the model holds the average already"
    best = Walk(AVERAGING, steps=3)
    walk.swapper.load_best_weights(best.swapper.trained_weights(), best.swapper.average_state())
    for name, value in walk.model.state_dict().items():
        torch.testing.assert_close(value, best.average[name].float())
    walk.assert_trained(walk.swapper.trained_weights())
    assert walk.num_reestimated == 2


def test_the_best_weights_are_those_of_the_checkpoint_where_there_is_no_average() -> None:
    walk, best = Walk(None), Walk(None)
    walk.swapper.load_best_weights(best.swapper.trained_weights(), None)
    best.assert_trained(walk.model.state_dict())
    walk.assert_trained(walk.swapper.trained_weights())
    assert walk.num_reestimated == 0


@pytest.mark.parametrize("averaging", [None, AveragingConfig(start_step=5)])
def test_without_an_average_nothing_is_swapped(averaging: AveragingConfig | None) -> None:
    """None is kept, or none of the steps so far is in it."""
    walk = Walk(averaging)
    assert not walk.swapper.needs_swap
    with walk.swapper.averaged():
        walk.assert_trained(walk.model.state_dict())
    walk.swapper.load_averaged_weights()
    walk.assert_trained(walk.model.state_dict())
    assert walk.num_reestimated == 0
    assert (walk.swapper.average_state() is None) == (averaging is None)


def test_a_restored_swapper_continues_the_average() -> None:
    """Weights and average go through a copy of the state, as through a checkpoint."""
    walk = Walk(AVERAGING)
    weights = copy.deepcopy(walk.swapper.trained_weights())
    average = copy.deepcopy(walk.swapper.average_state())
    model = nn.Linear(4, 3)
    other = WeightSwapper(model, AVERAGING, reestimate=lambda: None)
    other.load_state(weights, average)
    walk.assert_trained(model.state_dict())
    with torch.no_grad():
        model.weight.add_(1.0)
    other.update(5)
    walk.steps.append(weights_of(model))
    with other.averaged():
        for name, value in model.state_dict().items():
            torch.testing.assert_close(value, walk.average[name].float())


class TestInATrainer:
    def test_the_model_has_the_average_and_the_checkpoint_the_trained_weights(
        self, tmp_path: Path
    ) -> None:
        """Oracle: a second average, which a callback keeps."""
        config = replace(
            CONFIG,
            averaging=AveragingConfig(decay=DECAY),
            checkpoints=CheckpointConfig(folder=tmp_path),
        )
        model = nn.Linear(6, 3)
        shadow = nn.Linear(6, 3)
        shadow.load_state_dict(model.state_dict())

        class Second(Callback):
            def __init__(self) -> None:
                self.average = WeightAverage(shadow, AveragingConfig(decay=DECAY))
                self.trained: dict[str, Tensor] = {}

            def on_step_end(self, trainer: Trainer, step: StepInfo) -> None:
                self.average.update(trainer.model, step.step)
                self.trained = weights_of(trainer.model)

        second = Second()
        trainer = Trainer(model, config, callbacks=[second])
        result = trainer.fit(examples(), examples(20, seed=1))
        saved = cast("dict[str, Tensor]", read_checkpoint(tmp_path / "last.pt")["model"])
        second.average.copy_to(shadow)
        assert differences(shadow.state_dict(), model.state_dict()) == []
        assert differences(saved, second.trained) == []
        assert differences(saved, model.state_dict()) != []
        assert trainer.evaluate(examples(20, seed=1)).loss == result.history[-1].val_loss
        trainer.save(tmp_path / "again.pt")
        assert differences(saved, read_checkpoint(tmp_path / "again.pt")["model"]) == []
        trainer.load_best()
        trainer.save(tmp_path / "third.pt")
        assert differences(saved, read_checkpoint(tmp_path / "third.pt")["model"]) == []

    def test_batch_norm_is_measured_for_the_average(self) -> None:
        """Its statistics are those of the averaged network on the training data."""
        trainer, _ = train(everything(None))
        linear, norm = trainer.model.get_submodule("0"), trainer.model.get_submodule("1")
        batches = Batches(examples(), 8, augment=noise).epoch(3)
        inputs = torch.cat([batch.inputs for batch in batches])
        hidden = linear(inputs)
        assert isinstance(norm, nn.BatchNorm1d)
        assert norm.running_mean is not None
        torch.testing.assert_close(norm.running_mean, hidden.mean(0).detach())
