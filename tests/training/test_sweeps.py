"""Sweeps with Optuna: a pruned, a diverged and an interrupted trial, and the end of the study."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.training.scenario import examples, network

from mlpkit.errors import NonFiniteError, TrainingKeyboardInterrupt
from mlpkit.training import Callback, EpochRow, OptimizerConfig, Trainer, TrainerConfig

optuna = pytest.importorskip("optuna", reason="optuna is not installed")

CONFIG = TrainerConfig(epochs=3, batch_size=16, progress=False)


@pytest.fixture
def study() -> Iterator[Any]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield optuna.create_study()
    optuna.logging.set_verbosity(before)


def states(study: Any) -> list[str]:
    return [trial.state.name for trial in study.trials]


def run(*callbacks: Callback, config: TrainerConfig = CONFIG) -> float | None:
    trainer = Trainer(network(), config, callbacks=callbacks)
    return trainer.fit(examples(), examples(20, seed=1)).state.best_value


def test_ctrl_c_ends_the_study_which_can_be_continued(study: Any) -> None:
    """A real SIGINT arrives in the second of ten trials."""
    seen: list[int] = []

    def objective(trial: Any) -> float | None:
        class PressCtrlC(Callback):
            def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:
                seen.append(row.epoch)
                if trial.number == row.epoch == trainer.history[-1].epoch == 1:
                    os.kill(os.getpid(), signal.SIGINT)

        return run(PressCtrlC())

    with pytest.raises(TrainingKeyboardInterrupt):
        study.optimize(objective, n_trials=10)
    assert states(study) == ["COMPLETE", "FAIL"]
    assert seen == [0, 1, 2, 0, 1]
    study.optimize(objective, n_trials=1)
    assert states(study) == ["COMPLETE", "FAIL", "COMPLETE"]


def test_a_trial_is_pruned_by_a_callback(study: Any) -> None:
    def objective(trial: Any) -> float | None:
        class Pruning(Callback):
            def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:
                trial.report(row.val_loss, row.epoch)
                if trainer.history[-1].epoch == 1:
                    raise optuna.TrialPruned

        return run(Pruning())

    study.optimize(objective, n_trials=1)
    (trial,) = study.trials
    assert trial.state.name == "PRUNED"
    assert list(trial.intermediate_values) == [0, 1]


def test_a_trial_that_diverges_can_be_counted_as_failed(study: Any) -> None:
    def objective(trial: Any) -> float | None:
        lr = 1e30 if trial.number == 0 else 0.1
        return run(config=replace(CONFIG, optimizer=OptimizerConfig(name="sgd", lr=lr)))

    study.optimize(objective, n_trials=2, catch=NonFiniteError)
    assert states(study) == ["FAIL", "COMPLETE"]
