"""`fit(init_from=...)` starts a new run from the weights of a checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.training.scenario import differences, examples, network
from torch import Tensor, nn

from mlpkit.errors import CheckpointError
from mlpkit.training import (
    AveragingConfig,
    Callback,
    CheckpointConfig,
    OptimizerConfig,
    Trainer,
    TrainerConfig,
    load_checkpoint,
)

TRAIN, VAL = examples(), examples(20, seed=1)
CONFIG = TrainerConfig(epochs=2, batch_size=8, averaging=AveragingConfig(decay=0.5), progress=False)


class State(Callback):
    """Copies the weights and the state of the optimizer before the first step."""

    def on_fit_start(self, trainer: Trainer) -> None:
        state = trainer.model.state_dict()
        self.weights = {name: value.clone() for name, value in state.items()}
        self.optimizer = trainer.optimizer.state_dict()["state"]
        self.moments: dict[int, dict[str, Tensor]] = {
            key: {name: value.clone() for name, value in tensors.items()}
            for key, tensors in self.optimizer.items()
        }
        self.groups = trainer.optimizer.state_dict()["param_groups"]


@pytest.fixture(scope="module")
def last(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a run."""
    folder = tmp_path_factory.mktemp("first")
    Trainer(network(), replace(CONFIG, checkpoints=CheckpointConfig(folder=folder))).fit(TRAIN, VAL)
    return folder / "last.pt"


def started(last: Path, config: TrainerConfig, *, optimizer: bool = False) -> tuple[Trainer, State]:
    """Start from the checkpoint, with another initialization."""
    state = State()
    trainer = Trainer(network(5), config, callbacks=[state])
    trainer.fit(examples(40, seed=3), VAL, init_from=last, init_optimizer=optimizer)
    return trainer, state


def test_the_weights_are_those_that_were_validated(last: Path) -> None:
    """Averaged ones here; everything else is that of a new run, also data and settings."""
    config = replace(CONFIG, optimizer=OptimizerConfig(name="sgd"), epochs=3, seed=9)
    trainer, state = started(last, config)
    assert differences(load_checkpoint(last).model_state, state.weights) == []
    assert state.moments == {}
    assert (trainer.state.epoch, trainer.state.step, len(trainer.history)) == (3, 15, 3)


def test_a_run_from_a_checkpoint_is_one_from_its_weights(last: Path) -> None:
    trainer, _ = started(last, CONFIG)
    by_hand = network(7)
    by_hand.load_state_dict(load_checkpoint(last).model_state)
    Trainer(by_hand, CONFIG).fit(examples(40, seed=3), VAL)
    assert differences(by_hand.state_dict(), trainer.model.state_dict()) == []


def test_the_optimizer_has_its_moments_and_the_new_options(last: Path) -> None:
    config = replace(CONFIG, optimizer=OptimizerConfig(lr=0.5, weight_decay=0.25))
    trainer, state = started(last, config, optimizer=True)
    saved = torch.load(last, weights_only=True)
    assert differences(saved["model"], state.weights) == []
    assert differences(saved["optimizer"]["state"], state.moments) == []
    assert state.groups[0]["initial_lr"] == 0.5
    assert state.groups[0]["weight_decay"] == 0.25
    assert trainer.state.step == 10


def test_a_run_that_started_from_another_resumes_exactly(last: Path, tmp_path: Path) -> None:
    """What it started from is in its checkpoint, and is not needed again."""

    def config(name: str) -> TrainerConfig:
        folder = CheckpointConfig(folder=tmp_path / name, every_steps=1)
        return replace(CONFIG, checkpoints=folder)

    class Stopped(Exception):  # noqa: N818
        pass

    class Stop(Callback):
        def on_step_end(self, trainer: Trainer, step: object) -> None:  # noqa: ARG002
            if trainer.state.step == 7:
                raise Stopped

    alone, _ = started(last, config("a"), optimizer=True)
    trainer = Trainer(network(6), config("b"), callbacks=[Stop()])
    with pytest.raises(Stopped):
        trainer.fit(examples(40, seed=3), VAL, init_from=last, init_optimizer=True)
    again = Trainer(network(8), config("b"))
    again.fit(examples(40, seed=3), VAL, resume="auto")
    assert differences(alone.model.state_dict(), again.model.state_dict()) == []


def test_one_command_starts_and_resumes(last: Path, tmp_path: Path) -> None:
    """With `resume="auto"` the checkpoint is only used where there is nothing to resume."""
    config = replace(CONFIG, checkpoints=CheckpointConfig(folder=tmp_path))
    states = [State(), State()]
    for seed, state in enumerate(states):
        trainer = Trainer(network(seed), config, callbacks=[state])
        trainer.fit(TRAIN, VAL, init_from=last, resume="auto")
    assert differences(load_checkpoint(last).model_state, states[0].weights) == []
    end = load_checkpoint(tmp_path / "last.pt")
    assert end.state.epoch == 2
    assert differences(dict(end.trained_state), states[1].weights) == []


def test_other_models_and_optimizers_are_refused(last: Path) -> None:
    """Before anything has changed."""
    other = nn.Sequential(nn.Linear(6, 9), nn.Linear(9, 3))
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(
        ValueError, match=r"init_from must be .* the same parameters, got .*0\.bias"
    ):
        Trainer(other, CONFIG).fit(TRAIN, init_from=last)
    assert differences(before, other.state_dict()) == []
    sgd = replace(CONFIG, optimizer=OptimizerConfig(name="sgd"))
    model = network(5)
    with pytest.raises(ValueError, match=r"init_from must be .* EagerSGD with .* of EagerAdamW"):
        Trainer(model, sgd).fit(TRAIN, init_from=last, init_optimizer=True)
    assert differences(network(5).state_dict(), model.state_dict()) == []
    with pytest.raises(CheckpointError, match=r"nowhere\.pt could not be read"):
        Trainer(model, CONFIG).fit(TRAIN, init_from=last.with_name("nowhere.pt"))


def test_its_own_folder_is_not_overwritten(last: Path) -> None:
    config = replace(CONFIG, checkpoints=CheckpointConfig(folder=last.parent))
    with pytest.raises(ValueError, match=r"checkpoints\.folder must be a folder without"):
        Trainer(network(), config).fit(TRAIN, VAL, init_from=last)
