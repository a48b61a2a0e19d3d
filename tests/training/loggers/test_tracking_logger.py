"""Weights & Biases and MLflow: each epoch is logged once, through failures and resumes.

The stubs run everywhere; the real services where their extra is installed, as in the session
``loggers`` of nox.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.training.loggers.services import SERVICES, LoggedRun, Service
from tests.training.scenario import differences, everything, examples, network, train
from torch import nn

from mlpkit import SoftmaxClassifier
from mlpkit.errors import MissingDependencyError, TrainingKeyboardInterrupt
from mlpkit.training import (
    Callback,
    CheckpointConfig,
    EpochRow,
    History,
    MLflowLogger,
    Schedule,
    Trainer,
    TrainerConfig,
    WandbLogger,
)

CONFIG = TrainerConfig(epochs=2, batch_size=16, schedule=Schedule(), progress=False)


@pytest.fixture(params=SERVICES)
def service(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Service:
    return SERVICES[request.param](tmp_path, monkeypatch)


def only_run(service: Service) -> LoggedRun:
    (run,) = service.runs().values()
    return run


def columns_of(history: History) -> dict[str, list[tuple[int, float]]]:
    """Return what a service must have: the values that are not None, over the optimizer step."""
    columns: dict[str, list[tuple[int, float]]] = {}
    for row in history:
        for name, value in row.to_dict().items():
            if value is not None and name != "step":
                columns.setdefault(name, []).append((row.step, value))
    return columns


def epochs_of(run: LoggedRun) -> list[float]:
    return [epoch for _, epoch in run.columns["epoch"]]


class Fail(Callback):
    """Fails after an epoch, before its checkpoint is written."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:
        if row.epoch == self.epoch == trainer.history[-1].epoch:
            raise OSError("the disk is full")


class PressCtrlC(Callback):
    def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:
        if row.epoch == trainer.history[-1].epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)


def test_a_run_has_settings_rows_and_result(service: Service) -> None:
    data, config = examples(), replace(CONFIG, validate_every=2)
    model = SoftmaxClassifier.for_data(data, (4,))
    logger = service.logger()
    trainer = Trainer(model, config, callbacks=[logger])
    result = trainer.fit(data, examples(20, seed=1))
    assert list(service.runs()) == [logger.run_id]
    run = only_run(service)
    assert run.status == "finished"
    assert run.columns == columns_of(result.history)
    assert run.columns["val_loss"] == [(8, result.history[1].val_loss)]
    assert run.result == {
        "stop_reason": "completed",
        "best_epoch": 1,
        "best_value": result.state.best_value,
    }
    optimizer = trainer.config.optimizer
    assert optimizer is not None
    shown = {name: str(value) for name, value in run.parameters.items()}
    expected = {
        "epochs": "2",
        "optimizer.lr": str(optimizer.lr),
        "objective": "CrossEntropy",
        "model.class": "SoftmaxClassifier",
        "model.hidden_features": "[4]",
    }
    assert expected.items() <= shown.items()


def test_the_logger_changes_no_bit(service: Service) -> None:
    config = everything(None, epochs=2)
    plain, _ = train(config)
    logged, _ = train(config, callbacks=[service.logger()])
    assert differences(plain.model.state_dict(), logged.model.state_dict()) == []


def test_a_run_that_failed_is_continued(service: Service, tmp_path: Path) -> None:
    """Also with more epochs; the epoch that was logged after the checkpoint is logged once."""
    checkpoints = CheckpointConfig(folder=tmp_path / "run")
    config = replace(CONFIG, epochs=3, checkpoints=checkpoints)
    with pytest.raises(OSError, match="disk"):
        Trainer(network(), config, callbacks=[service.logger(), Fail(1)]).fit(examples())
    run = only_run(service)
    assert run.status == "failed"
    assert epochs_of(run) == [0, 1]
    assert run.result == {}

    resumed = Trainer(network(), replace(config, epochs=4), callbacks=[service.logger()])
    resumed.fit(examples(), resume="auto")
    run = only_run(service)
    assert run.status == "finished"
    assert run.result["stop_reason"] == "completed"
    if service.knows_rows:
        assert epochs_of(run) == [0, 1, 2, 3]
    else:  # the files of the two processes have the same epoch at the same step
        assert epochs_of(run) == [0, 1, 1, 2, 3]
        assert run.columns["train_loss"][1] == run.columns["train_loss"][2]
    losses = dict(columns_of(resumed.history)["train_loss"])
    assert dict(run.columns["train_loss"]) == losses


def test_ctrl_c_and_resume(service: Service, tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=3, checkpoints=CheckpointConfig(folder=tmp_path / "run"))
    with pytest.raises(TrainingKeyboardInterrupt):
        Trainer(network(), config, callbacks=[service.logger(), PressCtrlC()]).fit(examples())
    run = only_run(service)
    assert run.status == service.fails_as
    assert epochs_of(run) == [0, 1]
    result = Trainer(network(), config, callbacks=[service.logger()]).fit(examples(), resume="auto")
    run = only_run(service)
    assert run.status == "finished"
    assert run.columns == columns_of(result.history)


def test_a_logger_that_is_added_on_resume_has_every_epoch(service: Service, tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=3, checkpoints=CheckpointConfig(folder=tmp_path / "run"))
    with pytest.raises(OSError, match="disk"):
        Trainer(network(), config, callbacks=[Fail(2)]).fit(examples())
    Trainer(network(), config, callbacks=[service.logger()]).fit(examples(), resume="auto")
    assert epochs_of(only_run(service)) == [0, 1, 2]


def test_a_second_fit_is_a_second_run_unless_it_is_a_warm_start(service: Service) -> None:
    logger = service.logger()
    trainer = Trainer(network(), CONFIG, callbacks=[logger])
    trainer.fit(examples())
    first = logger.run_id
    trainer.fit(examples())
    second = logger.run_id
    trainer.fit(examples(), warm_start=True)
    assert logger.run_id == second
    runs = service.runs()
    assert {name: epochs_of(run) for name, run in runs.items()} == {
        first: [0, 1],
        second: [0, 1, 2, 3],
    }
    assert {run.status for run in runs.values()} == {"finished"}


@pytest.mark.parametrize("fails", [False, True])
def test_a_given_run_is_not_ended(service: Service, fails: bool) -> None:
    """It keeps the parameter that it has."""
    given = service.start()
    logger = service.logger(run=given)
    callbacks: list[Callback] = [logger, *([Fail(1)] if fails else [])]
    trainer = Trainer(network(), CONFIG, callbacks=callbacks)
    if fails:
        with pytest.raises(OSError, match="disk"):
            trainer.fit(examples())
    else:
        trainer.fit(examples())
    assert list(service.runs()) == [logger.run_id]
    assert only_run(service).status == "running"
    service.end(given)
    run = only_run(service)
    assert run.status == "finished"
    assert epochs_of(run) == [0, 1]
    assert str(run.parameters["seed"]) == "99"
    assert str(run.parameters["epochs"]) == "2"
    assert run.result == ({} if fails else {"stop_reason": "completed"})


def test_another_run_that_is_given_on_resume_has_every_epoch(
    service: Service, tmp_path: Path
) -> None:
    config = replace(CONFIG, epochs=3, checkpoints=CheckpointConfig(folder=tmp_path / "run"))
    with pytest.raises(OSError, match="disk"):
        Trainer(network(), config, callbacks=[service.logger(), Fail(1)]).fit(examples())
    given = service.start()
    other = service.logger(run=given)
    run_id = other.run_id
    Trainer(network(), config, callbacks=[other]).fit(examples(), resume="auto")
    service.end(given)
    assert other.run_id == run_id is not None
    assert epochs_of(service.runs()[run_id]) == [0, 1, 2]


def test_a_second_fit_with_a_given_run_has_every_epoch(service: Service) -> None:
    given = service.start()
    trainer = Trainer(network(), CONFIG, callbacks=[service.logger(run=given)])
    trainer.fit(examples())
    trainer.fit(examples())
    service.end(given)
    assert epochs_of(only_run(service)) == [0, 1, 0, 1]


def test_a_failure_before_the_run_is_started_is_not_hidden() -> None:
    """A callback before the logger fails: the logger has nothing to end."""

    class Refuse(Callback):
        def on_fit_start(self, trainer: Trainer) -> None:
            raise OSError(f"no start at step {trainer.state.step}")

    with pytest.raises(OSError, match="no start"):
        Trainer(network(), CONFIG, callbacks=[Refuse(), WandbLogger()]).fit(examples())


@pytest.mark.parametrize(("logger", "package"), [(WandbLogger, "wandb"), (MLflowLogger, "mlflow")])
def test_without_the_package_it_says_what_to_install(
    logger: type[WandbLogger] | type[MLflowLogger], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=rf"pip install 'mlpkit\[{package}\]'"):
        Trainer(nn.Linear(6, 3), CONFIG, callbacks=[logger()]).fit(examples())
