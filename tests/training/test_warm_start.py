"""`fit(warm_start=True)` continues the previous run in memory, bit for bit."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
from tests.training.scenario import differences, everything, examples, network, noise
from torch import Tensor, nn

from mlpkit._serialization import JSONValue
from mlpkit.data import Batches
from mlpkit.errors import ResumeMismatchError
from mlpkit.training import (
    AveragingConfig,
    Callback,
    CheckpointConfig,
    CSVLogger,
    EarlyStopping,
    OptimizerConfig,
    Schedule,
    StepInfo,
    TopKAccuracy,
    Trainer,
    TrainerConfig,
)
from mlpkit.training.checkpoints import read_checkpoint

TRAIN, VAL = examples(), examples(20, seed=1)
PLAIN = TrainerConfig(epochs=2, batch_size=8, schedule=Schedule(), progress=False)


def constant(folder: Path | None, epochs: int) -> TrainerConfig:
    """Return everything, also the best weights, with rates that do not depend on the epochs."""
    config = everything(folder, epochs=epochs, restore_best=True)
    return replace(config, schedule=Schedule(), momentum_schedule=None)


def trainer_of(config: TrainerConfig, *callbacks: Callback) -> Trainer:
    return Trainer(network(), config, callbacks=callbacks, metrics={"top2": TopKAccuracy(2)})


def fit(trainer: Trainer, *, warm_start: bool = False, resume: str | None = None) -> None:
    torch.rand(7)  # whatever else happens in the process
    batches = Batches(TRAIN, 8, augment=noise)
    trainer.fit(batches, VAL, warm_start=warm_start, resume=resume)


class Count(Callback):
    """Counts steps; its state must not be restored, since the object has it."""

    steps = 0

    def on_step_end(self, trainer: Trainer, step: StepInfo) -> None:  # noqa: ARG002
        self.steps += 1

    def load_state_dict(self, state: Mapping[str, JSONValue]) -> None:
        raise AssertionError(state)


def test_two_times_two_epochs_are_four(tmp_path: Path) -> None:
    """Weights, optimizer, average, best weights, history, random stream, metrics and files."""
    alone = trainer_of(constant(tmp_path / "a", 4))
    fit(alone)
    count = Count()
    twice = trainer_of(constant(tmp_path / "b", 2), count, CSVLogger(tmp_path / "b.csv"))
    fit(twice)
    first = twice.history
    fit(twice, warm_start=True)
    assert (len(first), len(twice.history), twice.config.epochs) == (2, 4, 4)
    assert count.steps == twice.state.step == 12
    assert len((tmp_path / "b.csv").read_text().splitlines()) == 5
    assert differences(alone.model.state_dict(), twice.model.state_dict()) == []
    for name in ("last.pt", "best.pt"):
        one, other = (read_checkpoint(tmp_path / folder / name) for folder in ("a", "b"))
        for content in (one, other):  # best.pt tells how many epochs were planned then
            content["total_steps"] = 0
            cast("dict[str, object]", content["config"])["epochs"] = 0
        assert differences(one, other) == []


def test_a_continued_run_resumes_exactly(tmp_path: Path) -> None:
    """From its checkpoint, in another trainer, with the sum of the epochs."""
    alone = trainer_of(constant(tmp_path / "a", 6))
    fit(alone)
    twice = trainer_of(constant(tmp_path / "b", 2))
    fit(twice)
    fit(twice, warm_start=True)
    fresh = trainer_of(constant(tmp_path / "b", 6))
    fit(fresh, resume="auto")
    assert differences(alone.model.state_dict(), fresh.model.state_dict()) == []
    fit(twice, warm_start=True)
    assert differences(alone.model.state_dict(), twice.model.state_dict()) == []
    other = trainer_of(replace(constant(tmp_path / "b", 6), clip_grad_norm=None))
    with pytest.raises(ResumeMismatchError):
        fit(other, resume="auto")


class StopAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, trainer: Trainer, step: StepInfo) -> None:
        if step.step + 1 == self.step:
            trainer.stop()


def test_a_stopped_epoch_is_completed() -> None:
    """With the same data it continues in mid-epoch; with others the epoch begins again."""
    alone = Trainer(network(), replace(PLAIN, epochs=3))
    alone.fit(TRAIN, VAL)
    stopped = Trainer(network(), PLAIN, callbacks=[StopAt(11)])
    stopped.fit(TRAIN, VAL)
    assert (stopped.state.epoch, stopped.state.batch, len(stopped.history)) == (1, 3, 2)
    stopped.fit(TRAIN, VAL, warm_start=True)
    assert [row.epoch for row in stopped.history] == [0, 1, 2]
    assert differences(alone.model.state_dict(), stopped.model.state_dict()) == []

    other = Trainer(network(), PLAIN, callbacks=[StopAt(11)])
    other.fit(TRAIN, VAL)
    other.fit(examples(35, seed=2), VAL, warm_start=True)
    assert (other.state.epoch, other.state.step) == (3, 11 + 2 * 5)


#: Number of the last step of each epoch, and of all steps that were planned then.
SCHEDULED = ((7, 16), (15, 16), (23, 32), (31, 32))


def test_the_schedule_is_that_of_all_epochs() -> None:
    trainer = Trainer(network(), replace(PLAIN, schedule=Schedule(kind="linear")))
    trainer.fit(TRAIN)
    trainer.fit(TRAIN, warm_start=True)
    base = trainer.optimizer.param_groups[0]["initial_lr"]
    expected = [Schedule(kind="linear").ratio(step, total) for step, total in SCHEDULED]
    assert [row.lr for row in trainer.history] == [base * ratio for ratio in expected]


def test_without_a_previous_run_it_is_a_new_one() -> None:
    one, other = Trainer(network(), PLAIN), Trainer(network(), PLAIN)
    one.fit(TRAIN)
    other.fit(TRAIN, warm_start=True)
    assert differences(one.model.state_dict(), other.model.state_dict()) == []
    one.fit(TRAIN)
    assert len(one.history) == 2, "a call without it is a new run"


def test_default_epochs_are_added_each_time() -> None:
    trainer = Trainer(network(), TrainerConfig(batch_size=61, progress=False, schedule=Schedule()))
    trainer.fit(TRAIN)
    epochs = trainer.state.epoch
    for times in (2, 3):
        trainer.fit(TRAIN, warm_start=True)
        assert trainer.state.epoch == times * epochs


def test_limits_count_from_the_new_call() -> None:
    """Neither a run that early stopping nor one that its time ended is over at once."""
    config = replace(PLAIN, epochs=50, early_stopping=EarlyStopping(patience=1, min_delta=100.0))
    trainer = Trainer(network(), config)
    assert trainer.fit(TRAIN, VAL).state.epoch == 2
    assert trainer.fit(TRAIN, VAL, warm_start=True).state.epoch == 3
    trainer = Trainer(network(), replace(PLAIN, epochs=100_000, max_seconds=0.3))
    assert trainer.fit(TRAIN).stop_reason == "time"
    steps = trainer.state.step
    result = trainer.fit(TRAIN, warm_start=True)
    assert result.stop_reason == "time"
    assert result.state.step > steps + 1
    assert result.state.seconds > 0.6


def test_the_time_between_two_calls_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(network(), PLAIN)
    trainer.fit(TRAIN)
    seconds = trainer.state.seconds
    now = time.perf_counter
    monkeypatch.setattr("mlpkit.training._tracker.time.perf_counter", lambda: now() + 1e6)
    trainer.fit(TRAIN, warm_start=True)
    assert seconds < trainer.state.seconds < 1e5


def test_it_continues_from_the_trained_weights() -> None:
    """Not from the best ones, which the model holds between the calls."""
    ends = []
    for restore in (True, False):
        config = replace(PLAIN, restore_best=restore, monitor="train_loss")
        trainer = Trainer(network(), config)
        trainer.fit(TRAIN)
        trainer.fit(TRAIN, warm_start=True)
        ends.append([row.to_dict() for row in trainer.history])
    assert differences(ends[0], ends[1]) == []


def test_it_continues_from_weights_that_the_user_has_loaded() -> None:
    """With an optimizer that has no state this is a run from those weights."""
    sgd = OptimizerConfig(name="sgd", momentum=0.0, lr=0.0)
    trainer = Trainer(network(), replace(PLAIN, optimizer=sgd))
    trainer.fit(TRAIN)
    trainer.model.load_state_dict(network(5).state_dict())
    trainer.fit(TRAIN, warm_start=True)
    parameters = dict(network(5).named_parameters())
    assert differences(parameters, dict(trainer.model.named_parameters())) == []


@pytest.mark.parametrize("number", [24, 125])
def test_the_schedule_ends_with_the_run_on_data_of_another_size(
    tmp_path: Path, number: int
) -> None:
    """Its length is the steps that were made and those to come, also when that run is resumed."""
    checkpoints = CheckpointConfig(folder=tmp_path, every_steps=1)
    schedule = Schedule(kind="one_cycle")
    config = replace(PLAIN, schedule=schedule, checkpoints=checkpoints)
    others, per_epoch = examples(number), -(-number // 8)
    trainer = Trainer(network(), config)
    trainer.fit(TRAIN)
    assert trainer.state.step == 16
    trainer.fit(others, warm_start=True)
    total = 16 + 2 * per_epoch
    assert [row.step for row in trainer.history[2:]] == [16 + per_epoch, total]
    base = trainer.optimizer.param_groups[0]["initial_lr"]
    for row in trainer.history[2:]:
        assert row.lr == base * schedule.ratio(row.step - 1, total)

    stopped = Trainer(
        network(), replace(config, checkpoints=replace(checkpoints, folder=tmp_path / "b"))
    )
    stopped.fit(TRAIN)
    stopped._callbacks = (StopAt(18),)
    stopped.fit(others, warm_start=True)
    resumed = Trainer(network(), replace(stopped._config, epochs=4))
    resumed.fit(others, resume="auto")
    assert differences(trainer.model.state_dict(), resumed.model.state_dict()) == []
    assert [row.lr for row in resumed.history] == [row.lr for row in trainer.history]


def test_a_model_with_other_parameters_is_refused() -> None:
    """The state of the optimizer belongs to the parameters of the previous run."""
    model = network()
    trainer = Trainer(model, PLAIN)
    trainer.fit(TRAIN)
    for changed in (model[0].requires_grad_(False), nn.Linear(8, 4)):
        if changed is not model[0]:
            model[0].requires_grad_(True)
            model[4] = changed
        with pytest.raises(ValueError, match=r"for warm_start, got others; call fit without warm"):
            trainer.fit(TRAIN, warm_start=True)
    trainer.fit(TRAIN)


class Counted(nn.Module):
    """A network with a state that is no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.network = network()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.training
        found: Tensor = self.network(x)
        return found

    def get_extra_state(self) -> dict[str, int]:
        return {"calls": self.calls}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.calls = state["calls"]


def test_a_state_that_is_no_tensor(tmp_path: Path) -> None:
    """It is kept with the best weights, continued, saved and taken over."""
    checkpoints = CheckpointConfig(folder=tmp_path)
    config = replace(
        PLAIN,
        restore_best=True,
        averaging=AveragingConfig(decay=0.9),
        checkpoints=checkpoints,
    )
    model = Counted()
    trainer = Trainer(model, config)
    trainer.fit(TRAIN, VAL)
    trainer.fit(TRAIN, VAL, warm_start=True)
    found = read_checkpoint(checkpoints.last)["model"]
    assert cast("dict[str, object]", found)["_extra_state"] == {"calls": 32}
    assert model.calls == 8 * (cast("int", trainer.state.best_epoch) + 1)
    other = Counted()
    Trainer(other, PLAIN).fit(TRAIN, init_from=checkpoints.last)
    assert other.calls == 48


def test_the_folder_is_that_of_the_run(tmp_path: Path) -> None:
    """A continued run writes where it has written; a new run in the folder is refused."""
    trainer = Trainer(network(), replace(PLAIN, checkpoints=CheckpointConfig(folder=tmp_path)))
    trainer.fit(TRAIN)
    trainer.fit(TRAIN, warm_start=True)
    assert cast("dict[str, int]", read_checkpoint(tmp_path / "last.pt")["state"])["epoch"] == 4
    with pytest.raises(ValueError, match=r"checkpoints\.folder must be a folder without"):
        trainer.fit(TRAIN)
