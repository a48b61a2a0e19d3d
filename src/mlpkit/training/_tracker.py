"""Counters, running means, history and early stopping of a training run."""

from __future__ import annotations

import dataclasses
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import torch
from torch import Tensor

from mlpkit._checks import error_message
from mlpkit.training._config import FilledConfig
from mlpkit.training._engine import StepResult
from mlpkit.training._monitor import check_monitored_task, monitor_of
from mlpkit.training._nonfinite import NonFiniteStep
from mlpkit.training._run_config import check_class_weights, known_targets
from mlpkit.training.batches import BatchLike, num_examples
from mlpkit.training.metrics import (
    EpochMeter,
    EpochRow,
    Evaluation,
    History,
    RegressionMetrics,
)
from mlpkit.training.objectives import Objective, Task, task_of
from mlpkit.training.optim import PlateauState

__all__ = ["Tracker", "TrackerState", "TrainState"]


@dataclass(slots=True)
class TrainState:
    """Counters of a training run between two steps; every checkpoint holds them.

    Attributes:
        epoch: Number of completed epochs.
        batch: Number of completed batches of the current epoch.
        step: Number of completed optimizer steps.
        examples: Number of examples seen; an example counts each time it is seen.
        seconds: Duration of the run so far, in seconds, with validation and saving; a resumed run
            continues the count.
        epoch_examples: Number of examples seen in the current epoch.
        epoch_seconds: Duration of the current epoch so far, in seconds, without validation.
        best_epoch: Number of the best epoch by the monitored metric, from 0; None before the first
            validation.
        best_value: Monitored metric of the best epoch.
        num_bad_epochs: Number of validations without an improvement since the best epoch.
        lr_ratio: Factor of ``reduce_lr_on_plateau`` on the learning rate.
        lr_best_value: Best monitored metric by the threshold of ``reduce_lr_on_plateau``.
        lr_num_bad_epochs: Number of validations without an improvement on it.
        lr_cooldown: Number of validations after a reduction that are still not counted.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    examples: int = 0
    seconds: float = 0.0
    epoch_examples: int = 0
    epoch_seconds: float = 0.0
    best_epoch: int | None = None
    best_value: float | None = None
    num_bad_epochs: int = 0
    lr_ratio: float = 1.0
    lr_best_value: float | None = None
    lr_num_bad_epochs: int = 0
    lr_cooldown: int = 0


class TrackerState(TypedDict):
    """State of a :class:`Tracker` in plain values."""

    state: dict[str, int | float | None]
    meter: list[float]
    history: list[dict[str, int | float | None]]


class Tracker:
    """Keeps the counters, running means and history of a run, and decides about early stopping.

    Args:
        config: The settings.
        objective: Loss of each example.
        device: Device of the losses.
        model_task: Task that the model declares; None for a bare module.
        metrics: Names of the custom metrics.

    Attributes:
        state: Counters of the run.
        history: One row for each epoch.
        task: Task of the run; None before the first step.
    """

    def __init__(
        self,
        config: FilledConfig,
        objective: Objective,
        *,
        device: torch.device,
        model_task: Task | None = None,
        metrics: Sequence[str] = (),
    ) -> None:
        self.state = TrainState()
        self.history = History()
        self.task: Task | None = None
        self._config = config
        self._monitor = monitor_of(config.monitor)
        self._objective = objective
        self._model_task = model_task
        self._metrics = tuple(metrics)
        self._warned: set[str] = set()  # custom metrics that were not finite
        self._meter = EpochMeter(device)
        self._latest: StepResult | None = None
        self._mark = time.perf_counter()

    def start_with(self, train: object) -> None:
        """Call :meth:`start` with training data whose targets are known before the first batch."""
        targets = known_targets(train)
        if targets is not None:
            self.start(targets)

    def start(self, targets: Tensor) -> None:
        """Find out the task from the first targets, and check that the settings fit it.

        Raises:
            ValueError: If the monitored metric or the class weights have no meaning for the task.
        """
        if self.task is not None:
            return
        self.task = task_of(self._objective, targets, self._model_task)
        check_class_weights(self._config, self.task)
        check_monitored_task(self._monitor.name, self.task)

    def update(self, microbatches: Sequence[BatchLike], result: StepResult) -> None:
        """Count one optimizer step."""
        self.state.batch += len(microbatches)
        self.state.step += 1
        examples = sum(num_examples(batch) for batch in microbatches)
        self.state.examples += examples
        self.state.epoch_examples += examples
        self._meter.add(result.loss, result.weight, result.grad_norm)
        self._latest = result

    def tick(self, *, is_training: bool = True) -> float:
        """Add the time since the last call to the durations, and return that of the run.

        Args:
            is_training: Whether that time counts as part of the epoch; validation does not.
        """
        now = time.perf_counter()
        self.state.seconds += now - self._mark
        if is_training:
            self.state.epoch_seconds += now - self._mark
        self._mark = now
        return self.state.seconds

    @property
    def is_done(self) -> bool:
        """Whether all epochs or all steps of the run have been completed."""
        state, config = self.state, self._config
        return state.epoch >= config.epochs or (
            config.max_steps is not None and state.step >= config.max_steps and not state.batch
        )

    @property
    def current_epoch(self) -> int:
        """Number of the epoch that is trained, or of the last one at the end of the run."""
        return min(self.state.epoch, self._config.epochs - 1)

    def finish_epoch(
        self,
        validate: Callable[[], Evaluation | None],
        *,
        evaluate_train: Callable[[], Evaluation | None] | None = None,
        lr: float,
        is_last: bool = False,
    ) -> tuple[EpochRow, bool]:
        """Validate if it is due, and append the history row.

        Args:
            validate: Evaluates the model; None is the result without validation data.
            evaluate_train: Evaluates it on the training data; None is the result without
                ``train_metrics``.
            lr: Learning rate of the latest step.
            is_last: Whether the run stops after this epoch.

        Returns:
            The row, and whether its epoch is the best so far.

        Raises:
            NonFiniteStep: If the validation loss is NaN or infinite.
        """
        self.tick()
        is_due = self.is_validation_due(is_last=is_last)
        train = evaluate_train() if is_due and evaluate_train is not None else None
        row = self.row(validate() if is_due else None, train=train, lr=lr)
        is_best = self.close_epoch(row)
        self.tick(is_training=False)
        return row, is_best

    def is_validation_due(self, *, is_last: bool) -> bool:
        """Return whether the epoch that has just been trained is validated."""
        number, max_steps = self.state.epoch + 1, self._config.max_steps
        is_last = is_last or number == self._config.epochs
        is_last = is_last or (max_steps is not None and self.state.step >= max_steps)
        return is_last or number % self._config.validate_every == 0

    def row(
        self, evaluation: Evaluation | None, *, train: Evaluation | None = None, lr: float
    ) -> EpochRow:
        """Return the history row of the epoch that has just been trained.

        Args:
            evaluation: Result of the validation; None if the epoch was not validated.
            train: Result on the training data; None without ``train_metrics``.
            lr: Learning rate of the latest step.

        Raises:
            NonFiniteStep: If the validation loss is NaN or infinite.
        """
        if evaluation is not None and not math.isfinite(evaluation.loss):
            raise self.nonfinite_step("the validation loss", evaluation.loss)
        loss, grad_norm = self._meter.means()
        accuracy, regression = _accuracy(evaluation), _regression(evaluation)
        train_regression = _regression(train)
        state = self.state
        return EpochRow(
            epoch=state.epoch,
            step=state.step,
            lr=lr,
            train_loss=loss,
            seconds=state.epoch_seconds,
            examples_per_second=state.epoch_examples / max(state.epoch_seconds, 1e-9),
            train_accuracy=_accuracy(train),
            train_rmse=None if train_regression is None else _finite_or_none(train_regression.rmse),
            val_loss=None if evaluation is None else evaluation.loss,
            val_accuracy=accuracy,
            val_error=None if accuracy is None else 1.0 - accuracy,
            val_rmse=None if regression is None else _finite_or_none(regression.rmse),
            val_mae=None if regression is None else _finite_or_none(regression.mae),
            val_r2=None if regression is None else _finite_or_none(regression.r2),
            val_objective_loss=None if evaluation is None else evaluation.objective_loss,
            grad_norm=grad_norm,
            metrics=self._custom_columns(evaluation),
        )

    def _custom_columns(self, evaluation: Evaluation | None) -> dict[str, float | None]:
        """Return the value of each custom metric; None for one that is not finite."""
        if evaluation is None:
            return dict.fromkeys(self._metrics)
        for name, value in evaluation.metrics.items():
            if not math.isfinite(value) and name not in self._warned:
                self._warned.add(name)
                message = (
                    f"metrics[{name!r}] is {value} after epoch {self.state.epoch}; the history has "
                    "None for such an epoch, which cannot be the best one by this metric"
                )
                warnings.warn(message, UserWarning, stacklevel=2)
        return {name: _finite_or_none(value) for name, value in evaluation.metrics.items()}

    def close_epoch(self, row: EpochRow) -> bool:
        """Append the row to the history, and return whether its epoch is the best so far.

        Raises:
            ValueError: If the epoch was validated, but the evaluation has no monitored metric.
        """
        self.history.append(row)
        state = self.state
        value, is_undefined = self._monitored(row)
        is_best = self._is_best(value)
        if is_best:
            state.best_epoch, state.best_value, state.num_bad_epochs = row.epoch, value, 0
        elif value is not None or is_undefined:
            state.num_bad_epochs += 1
        if value is not None or is_undefined:
            self._reduce_lr(math.nan if value is None else value)
        state.epoch += 1
        self.restart_epoch()
        return is_best

    def _monitored(self, row: EpochRow) -> tuple[float | None, bool]:
        """Return the monitored metric, and whether it is a custom one that was not finite."""
        name = self._monitor.name
        value = row.to_dict()[name]
        if value is not None or row.val_loss is None or not name.startswith("val_"):
            return value, False
        if name.removeprefix("val_") in row.metrics:
            return None, True
        cure = "the objective does not define it; use 'val_loss'"
        raise ValueError(error_message("monitor", "a metric of this run", name, cure))

    def _reduce_lr(self, value: float) -> None:
        """Count a validation for ``reduce_lr_on_plateau``."""
        plateau, state = self._config.reduce_lr_on_plateau, self.state
        if plateau is None:
            return
        before = PlateauState(
            state.lr_ratio, state.lr_best_value, state.lr_num_bad_epochs, state.lr_cooldown
        )
        after = plateau.next_state(before, value, mode=self._monitor.mode)
        state.lr_ratio, state.lr_best_value, state.lr_num_bad_epochs, state.lr_cooldown = after

    def _is_best(self, value: float | None) -> bool:
        best = self.state.best_value
        if value is None or best is None:
            return value is not None
        stopping = self._config.early_stopping
        gain = best - value if self._monitor.mode == "min" else value - best
        return gain > (0.0 if stopping is None else stopping.min_delta)

    @property
    def is_out_of_patience(self) -> bool:
        """Whether early stopping ends the run."""
        stopping = self._config.early_stopping
        return stopping is not None and self.state.num_bad_epochs >= stopping.patience

    def nonfinite_step(self, what: str, loss: float | None = None) -> NonFiniteStep:
        """Return the exception for a value that is not finite after the latest step.

        Args:
            what: Description of the value, for a note of the exception.
            loss: The loss to report; None means the loss of the latest step.
        """
        latest = self._latest
        if loss is None:
            loss = math.nan if latest is None else latest.loss.item()
        norm = math.nan if latest is None else latest.grad_norm.item()
        error = NonFiniteStep(max(self.state.step - 1, 0), loss, norm)
        error.add_note(f"what is not finite: {what}")
        return error

    def restart_clock(self) -> None:
        """Leave out the time since the last call to :meth:`tick`, in which no run was active."""
        self._mark = time.perf_counter()

    def restart_epoch(self) -> None:
        """Count the batches of the current epoch from the first one."""
        state = self.state
        state.batch, state.epoch_examples, state.epoch_seconds = 0, 0, 0.0
        self._meter.reset()

    def state_dict(self) -> TrackerState:
        """Return counters, running means and completed epochs in plain values."""
        self.tick()
        completed = (row for row in self.history if row.epoch < self.state.epoch)
        return TrackerState(
            state=dataclasses.asdict(self.state),
            meter=self._meter.state_dict(),
            history=[row.to_dict() for row in completed],
        )

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Restore what :meth:`state_dict` returned, and restart the clock."""
        restored = TrackerState(**state)  # type: ignore[typeddict-item]  # from a checked file
        self.state = TrainState(**restored["state"])
        self.history = History.from_dict(restored["history"])
        self._meter.load_state_dict(restored["meter"])
        self.restart_clock()


def _accuracy(evaluation: Evaluation | None) -> float | None:
    is_classifier = evaluation is not None and evaluation.task != "regression"
    return evaluation.accuracy if evaluation is not None and is_classifier else None


def _regression(evaluation: Evaluation | None) -> RegressionMetrics | None:
    return None if evaluation is None else evaluation.regression


def _finite_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
