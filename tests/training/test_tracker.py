"""The tracker counts steps, averages the loss, chooses the best epoch and ends the run."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.training.scenario import everything, examples, train
from torch import Tensor, nn

from mlpkit.data import Batches
from mlpkit.errors import NonFiniteError
from mlpkit.training import (
    BatchLike,
    Callback,
    CrossEntropy,
    EarlyStopping,
    EpochRow,
    Evaluation,
    FilledConfig,
    History,
    MeanSquaredError,
    MonitorName,
    Objective,
    OptimizerConfig,
    ReduceLROnPlateau,
    Schedule,
    StepInfo,
    Trainer,
    TrainerConfig,
    TrainState,
)
from mlpkit.training._engine import StepResult
from mlpkit.training._nonfinite import NonFiniteStep
from mlpkit.training._tracker import Tracker

CPU = torch.device("cpu")
CONFIG = FilledConfig(
    epochs=3,
    batch_size=8,
    optimizer=OptimizerConfig(),
    schedule=Schedule(),
    label_smoothing=0.0,
    progress=False,
)


def tracker(config: FilledConfig = CONFIG, objective: Objective | None = None) -> Tracker:
    """Return a tracker of a run on the 61 examples of the scenario."""
    objective = CrossEntropy() if objective is None else objective
    return Tracker(config, objective, device=CPU)


def row(epoch: int, **metrics: float) -> EpochRow:
    """Return a row with the metrics given."""
    return EpochRow(
        epoch=epoch,
        step=epoch + 1,
        lr=0.1,
        train_loss=1.0,
        seconds=1.0,
        examples_per_second=1.0,
        **metrics,  # type: ignore[arg-type]  # not those of the custom metrics
    )


def result(loss: float, weight: float | Tensor, grad_norm: float = 1.0) -> StepResult:
    """Return the result of a step."""
    return StepResult(torch.tensor(loss), weight, torch.tensor(grad_norm))


def close(tracked: Tracker, values: Sequence[float | None], monitor: MonitorName) -> list[int]:
    """Close an epoch for each value of the monitored metric, and return the best ones."""
    return [
        epoch
        for epoch, value in enumerate(values)
        if tracked.close_epoch(row(epoch) if value is None else row(epoch, **{monitor: value}))
    ]


@pytest.mark.parametrize(
    ("monitor", "values", "min_delta", "best", "num_bad_epochs"),
    [
        ("val_loss", [0.5, 0.4, 0.4, 0.45], 0.0, [0, 1], 2),
        ("val_error", [0.5, 0.45, 0.3, 0.0], 0.1, [0, 2, 3], 0),
        ("val_accuracy", [0.5, 0.4, 0.6, 0.6], 0.0, [0, 2], 1),
        ("val_accuracy", [0.0, 0.0], 0.0, [0], 1),
    ],
)
def test_which_epoch_is_best(
    monitor: MonitorName,
    values: list[float],
    min_delta: float,
    best: list[int],
    num_bad_epochs: int,
) -> None:
    """Lower or higher by its table, better by more than min_delta, and 0.0 is a value."""
    stopping = EarlyStopping(min_delta=min_delta)
    tracked = tracker(replace(CONFIG, monitor=monitor, early_stopping=stopping))
    assert close(tracked, values, monitor) == best
    assert tracked.state.num_bad_epochs == num_bad_epochs
    assert (tracked.state.best_epoch, tracked.state.best_value) == (best[-1], values[best[-1]])
    assert not tracked.close_epoch(row(len(values))), "an epoch without validation decides nothing"
    assert tracked.state.num_bad_epochs == num_bad_epochs


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy", "val_error"])
def test_patience_is_that_of_a_loop(monitor: MonitorName) -> None:
    """Random metrics, some epochs not validated: the run ends where a loop over them ends."""
    generator = np.random.default_rng(0)
    sign = 1 if monitor == "val_accuracy" else -1
    for patience in (1, 2, 5):
        for _ in range(20):
            values = [
                None if generator.random() < 0.2 else float(generator.random()) for _ in range(40)
            ]
            best, bad, end = -math.inf, 0, len(values)
            for epoch, value in enumerate(values):
                if value is not None and sign * value > best + 0.01:
                    best, bad = sign * value, 0
                elif value is not None:
                    bad += 1
                if bad == patience:
                    end = epoch + 1
                    break
            stopping = EarlyStopping(patience=patience, min_delta=0.01)
            tracked = tracker(replace(CONFIG, monitor=monitor, early_stopping=stopping))
            while len(tracked.history) < len(values) and not tracked.is_out_of_patience:
                epoch = len(tracked.history)
                metrics = {} if values[epoch] is None else {monitor: values[epoch]}
                tracked.close_epoch(row(epoch, **metrics))  # type: ignore[arg-type]  # no None
            assert len(tracked.history) == end


def test_without_early_stopping_patience_never_ends() -> None:
    tracked = tracker()
    close(tracked, [0.1, *[1.0] * 99], "val_loss")
    assert tracked.state.num_bad_epochs == 99
    assert not tracked.is_out_of_patience


@pytest.mark.parametrize("weighted", [True, False])
def test_steps_are_counted_and_averaged(*, weighted: bool) -> None:
    """The row has the weighted mean of the losses, and the mean gradient norm, by NumPy."""
    tracked = tracker(replace(CONFIG, gradient_accumulation_steps=3))
    batches = list(Batches(examples(), 8).epoch(0))
    windows = [batches[0:3], batches[3:6], batches[6:8]]
    losses, weights, norms = [1.5, 0.25, 3.0], [24.0, 10.5, 13.0], [2.0, 1.0, 6.0]
    for window, loss, weight, norm in zip(windows, losses, weights, norms, strict=True):
        tracked.update(window, result(loss, torch.tensor(weight) if weighted else weight, norm))
    state = tracked.state
    assert (state.epoch, state.batch, state.step, state.examples) == (0, 8, 3, 61)
    found = tracked.row(None, lr=0.25)
    assert (found.epoch, found.step, found.lr) == (0, 3, 0.25)
    assert found.train_loss == pytest.approx(np.average(losses, weights=weights), rel=1e-12)
    assert found.grad_norm == pytest.approx(3.0, rel=1e-12)
    assert (found.val_loss, found.val_accuracy, found.val_error) == (None, None, None)
    tracked.close_epoch(found)
    assert (state.epoch, state.batch, state.step, state.examples) == (1, 0, 3, 61)
    tracked.update(windows[0], result(7.0, 24.0))
    assert tracked.row(None, lr=0.1).train_loss == 7.0, "the means begin again with each epoch"


def test_the_row_has_the_metrics_of_the_validation() -> None:
    data = examples(20, seed=1)
    model = nn.Linear(6, 3)
    evaluation = Trainer(model, CONFIG).evaluate(data)
    tracked = tracker()
    tracked.update(next_batches(1), result(1.0, 8.0))
    found = tracked.row(replace(evaluation, objective_loss=0.75), lr=0.1)
    right = int((model(data.inputs).argmax(1) == data.targets).sum())
    assert found.val_loss == evaluation.loss
    assert found.val_accuracy == pytest.approx(right / 20)
    assert found.val_error == pytest.approx(1 - right / 20)
    assert found.val_objective_loss == 0.75
    regression = tracked.row(Evaluation(loss=2.0, num_examples=9), lr=0.1)
    assert (regression.val_loss, regression.val_accuracy, regression.val_error) == (2.0, None, None)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_validation_loss_that_is_not_finite_raises(value: float) -> None:
    """The exception names the latest step, and no row is made."""
    tracked = tracker()
    for _ in range(3):
        tracked.update(next_batches(1), result(1.0, 8.0, 0.5))
    with pytest.raises(NonFiniteStep) as caught:
        tracked.row(Evaluation(loss=value, num_examples=9), lr=0.1)
    assert (caught.value.step, caught.value.grad_norm) == (2, 0.5)
    assert str(caught.value.loss) == str(value)
    assert caught.value.__notes__ == ["what is not finite: the validation loss"]
    assert len(tracked.history) == 0


def test_a_run_with_such_a_validation_ends() -> None:
    """The user sees a NonFiniteError, and the history has no row of that epoch."""

    class Broken(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - as torch names it
            outputs = super().forward(input)
            return outputs if self.training else outputs * math.nan

    trainer = Trainer(Broken(6, 3), CONFIG)
    with pytest.raises(NonFiniteError, match="at step 7 "):
        trainer.fit(examples(), examples(20, seed=1))
    assert len(trainer.history) == 0


@pytest.mark.parametrize(
    ("every", "epochs", "validated"),
    [(1, 3, [0, 1, 2]), (2, 5, [1, 3, 4]), (10, 3, [2])],
)
def test_which_epochs_are_validated(every: int, epochs: int, validated: list[int]) -> None:
    config = replace(CONFIG, epochs=epochs, validate_every=every)
    tracked = tracker(config)
    due = []
    for epoch in range(epochs):
        if tracked.is_validation_due(is_last=False):
            due.append(epoch)
        assert tracked.is_validation_due(is_last=True)
        tracked.close_epoch(row(epoch))
    assert due == validated
    run = Trainer(nn.Linear(6, 3), config).fit(examples(), examples(20, seed=1))
    assert [one.epoch for one in run.history if one.val_loss is not None] == validated


def test_a_run_is_done_after_its_epochs_or_steps() -> None:
    """After its steps only once the epoch is closed."""
    tracked = tracker(replace(CONFIG, epochs=2, max_steps=1))
    done = [tracked.is_done]
    tracked.update(next_batches(8), result(1.0, 61.0))
    done.append(tracked.is_done)
    assert tracked.is_validation_due(is_last=False)
    tracked.close_epoch(row(0))
    assert [*done, tracked.is_done] == [False, False, True]
    tracked = tracker(replace(CONFIG, epochs=1))
    tracked.close_epoch(row(0))
    assert tracked.is_done


def test_the_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Validation counts for the run but not for the epoch; a new epoch starts at zero."""
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    tracked = tracker()
    tracked.update(next_batches(8), result(1.0, 61.0))
    now[0] += 2.0
    assert tracked.tick() == 2.0
    now[0] += 5.0
    assert tracked.tick(is_training=False) == 7.0
    found = tracked.row(None, lr=0.1)
    assert (found.seconds, found.examples_per_second) == (2.0, 61 / 2.0)
    tracked.close_epoch(found)
    now[0] += 1.0
    assert tracked.tick() == 8.0
    assert tracked.state.epoch_seconds == 1.0
    saved = tracked.state_dict()
    now[0] += 1000.0  # the run is not alive in between
    resumed = tracker()
    resumed.load_state_dict(saved)
    now[0] += 1.0
    assert resumed.tick() == 9.0


def test_the_state_makes_the_round_trip() -> None:
    """Through JSON, in the middle of an epoch: both trackers then make the same rows."""
    config = replace(CONFIG, early_stopping=EarlyStopping(patience=2))
    one = tracker(config)
    for epoch, value in enumerate([0.5, 0.25, 0.3]):
        one.update(next_batches(8), result(value, 61.0))
        one.close_epoch(replace(one.row(None, lr=0.1), val_loss=value))
        assert one.state.epoch == epoch + 1
    one.update(next_batches(3), result(4.0, 24.0, 2.0))
    other = tracker(config)
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert other.history == one.history
    assert replace(other.state, seconds=0.0, epoch_seconds=0.0) == TrainState(
        epoch=3,
        batch=3,
        step=4,
        examples=3 * 61 + 24,
        epoch_examples=24,
        best_epoch=1,
        best_value=0.25,
        num_bad_epochs=1,
    )
    ends = []
    for tracked in (one, other):
        tracked.update(next_batches(5), result(1.0, 37.0, 4.0))
        made = tracked.row(Evaluation(loss=0.4, num_examples=1), lr=0.5)
        assert not tracked.close_epoch(made)
        assert tracked.is_out_of_patience
        ends.append(replace(made, seconds=0.0, examples_per_second=0.0))
    assert ends[0] == ends[1]
    assert ends[0].train_loss == pytest.approx((4.0 * 24 + 37) / 61)
    assert ends[0].grad_norm == 3.0


def test_the_row_of_an_unfinished_epoch_is_not_saved() -> None:
    """A resumed run completes the epoch, and then makes its row."""
    tracked = tracker()
    tracked.close_epoch(row(0, val_loss=0.5))
    tracked.history.append(row(1, val_loss=0.25))
    saved = tracked.state_dict()["history"]
    assert [one["epoch"] for one in saved] == [0]
    assert History.from_dict(saved) == History([row(0, val_loss=0.5)])


def test_the_task_is_that_of_the_first_batch() -> None:
    """Or what the objective declares."""

    def own(model: nn.Module, batch: BatchLike) -> Tensor:
        raise NotImplementedError

    assert tracker(objective=own).task is None
    tracked = tracker(objective=own)
    tracked.start(next_batches(1)[0].targets)
    assert tracked.task == "classification"
    declared = tracker(objective=MeanSquaredError())
    declared.start(next_batches(1)[0].targets)
    assert declared.task == "regression"


def test_the_trainer_shows_the_counters_of_its_tracker() -> None:
    """Through public names: counters in a hook, and at the end of the run."""
    seen: list[tuple[int, int, int, int]] = []

    class Look(Callback):
        def on_step_end(self, trainer: Trainer, step: StepInfo) -> None:  # noqa: ARG002
            state = trainer.state
            seen.append((state.epoch, state.batch, state.step, state.examples))

    trainer, run = train(everything(None, epochs=2), callbacks=[Look()])
    assert seen == [
        *((0, 3, 1, 24), (0, 6, 2, 48), (0, 8, 3, 61)),
        *((1, 3, 4, 85), (1, 6, 5, 109), (1, 8, 6, 122)),
    ]
    assert trainer.state is run.state
    assert trainer.history is run.history
    assert (run.state.epoch, run.state.batch, run.state.step, run.state.examples) == (2, 0, 6, 122)


def next_batches(number: int) -> Sequence[BatchLike]:
    """Return the first batches of an epoch."""
    return list(Batches(examples(), 8).epoch(0))[:number]


def test_the_rate_is_reduced_on_a_plateau() -> None:
    """Warmup applies; an epoch without a validation does not count; warm_start keeps the ratio."""
    config = TrainerConfig(
        epochs=6,
        batch_size=61,
        optimizer=OptimizerConfig(name="sgd", lr=1.0),
        schedule=Schedule(warmup_steps=1),
        reduce_lr_on_plateau=ReduceLROnPlateau(
            factor=0.5, patience=0, threshold=100.0, threshold_mode="abs"
        ),
        validate_every=2,
        progress=False,
    )
    trainer = Trainer(nn.Linear(6, 3), config)
    data = examples()
    history = trainer.fit(data, data).history
    assert [row.lr for row in history] == [0.5, 1.0, 1.0, 1.0, 0.5, 0.5]
    assert trainer.fit(data, data, warm_start=True).state.lr_ratio == 0.03125
    assert [row.lr for row in trainer.history][6:] == [0.25, 0.25, 0.125, 0.125, 0.0625, 0.0625]
    assert trainer.fit(data, data).state.lr_ratio == 0.25
    expected = "val must be given for reduce_lr_on_plateau on val_loss, got None"
    with pytest.raises(ValueError, match=expected):
        trainer.fit(data)
    watching = replace(config, monitor="train_loss", schedule=None)
    trainer = Trainer(nn.Linear(6, 3), watching)
    assert trainer.fit(data).state.lr_ratio == 0.5**5
    assert trainer.config.schedule == Schedule()
