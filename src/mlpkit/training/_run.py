"""Everything that one training consists of, and how it becomes a checkpoint and comes back."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import platform
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal, TypeAlias, cast

import torch
from torch import Tensor, nn

from mlpkit import _serialization
from mlpkit._devices import autocast
from mlpkit._serialization import JSONValue
from mlpkit.errors import CheckpointCorruptError, NonFiniteError
from mlpkit.training._callbacks import Callback
from mlpkit.training._config import BETTER, TrainerConfig
from mlpkit.training._engine import StepResult
from mlpkit.training._nonfinite import FiniteGuard, NonFiniteStep
from mlpkit.training.batches import (
    BatchLike,
    BatchSource,
    IndexedSource,
    LazyBatch,
    microbatches,
    on_device,
)
from mlpkit.training.checkpoints import (
    RandomStream,
    Saved,
    check_same,
    first_nonfinite,
    identity,
    normalize_reprs,
    settings,
    write_checkpoint,
)
from mlpkit.training.fast import CudaRecorder, StepGraph, keep_lr_on_device
from mlpkit.training.fast import FastEngine as Engine
from mlpkit.training.metrics import EpochMeter, EpochRow, Evaluation, History
from mlpkit.training.objectives import Objective, Task, task_of
from mlpkit.training.optim import (
    AverageState,
    WeightAverage,
    reestimate_batch_norm,
    set_lr,
    set_momentum,
)

__all__ = ["Run", "StopReason", "TrainState"]

StopReason: TypeAlias = Literal["callback", "completed", "early_stopping", "time"]


@dataclass(slots=True)
class TrainState:
    """Where a training stands, always between two steps; all of it is in every checkpoint.

    Attributes:
        epoch: Number of whole epochs behind.
        batch: Number of batches of the present epoch behind.
        step: Number of optimizer steps behind.
        examples: Number of examples seen, each as often as it was.
        seconds: Duration of the training so far, over all its parts, with validation and saving.
        epoch_seconds: Duration of the present epoch so far, without validation.
        best_epoch: Number of the best epoch, from 0, by the monitored figure; None before one.
        best_value: Monitored figure of that epoch.
        num_bad_epochs: Number of validations since then.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    examples: int = 0
    seconds: float = 0.0
    epoch_seconds: float = 0.0
    best_epoch: int | None = None
    best_value: float | None = None
    num_bad_epochs: int = 0


class Run:
    """One training from its first step to its last, whatever interrupts it in between.

    Args:
        model: The network, on ``device``.
        config: The settings.
        objective: Loss of each example.
        optimizer: Updates the parameters; every group has its base rate as ``initial_lr``.
        train: Batches to train on.
        val: Batches to validate on, or None.
        callbacks: Those whose state belongs into the checkpoints.
        device: Where the model is.
    """

    def __init__(
        self,
        model: nn.Module,
        config: TrainerConfig,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        *,
        train: BatchSource,
        val: BatchSource | None,
        callbacks: Sequence[Callback],
        device: torch.device,
    ) -> None:
        self.model = model
        self.config = config
        self.device = device
        self.objective = objective
        self.optimizer = optimizer
        self.train = train
        self.val = val
        self.callbacks = _named(callbacks)
        self.state = TrainState()
        self.history = History()
        self.stream = RandomStream(config.seed, device)
        self.meter = EpochMeter(device)
        self.guard = FiniteGuard(device, deferred=_obeys_found_inf(optimizer, device, config))
        weights = config.class_weights
        self.engine = Engine(
            model,
            objective,
            optimizer,
            self.guard,
            class_weights=None if weights is None else torch.tensor(weights, device=device),
            clip_grad_norm=config.clip_grad_norm,
            precision=config.precision,
            device=device,
        )
        self._graph: StepGraph | None = None
        self._gathering: IndexedSource | None = None
        if config.cuda_graph:
            keep_lr_on_device(optimizer, device)
            recorder = CudaRecorder(device)
            self._graph = StepGraph(
                lambda step, batch: self.engine.step(step, [batch]),
                recorder,
                begin=self.engine.begin_epoch,
            )
            here = next(model.parameters()).device
            if isinstance(train, IndexedSource) and train.device == here:
                self._gathering = train
        self.average = None if config.averaging is None else WeightAverage(model, config.averaging)
        self.stashed_weights: dict[str, Tensor] | None = None  # once the model has others
        self.total_steps = -(-len(train) // config.gradient_accumulation_steps) * config.epochs
        self.task: Task | None = None
        self.latest: StepResult | None = None
        self.checkpoint: Path | None = None
        self._mark = time.perf_counter()

    def set_rates(self) -> None:
        """Give the optimizer the learning rate and the momentum of the next step."""
        step, total = self.state.step, self.total_steps
        rebound = set_lr(self.optimizer, self.config.schedule.ratio(step, total))
        if rebound and self._graph is not None:
            self._graph.forget()
        if self.config.momentum_schedule is not None:
            set_momentum(self.optimizer, self.config.momentum_schedule.momentum(step, total))

    def microbatches(self) -> Iterator[Sequence[BatchLike]]:
        """Give the batches of each step that is left of the epoch."""
        epoch, start = self.state.epoch, self.state.batch
        gathering = self._gathering
        if gathering is not None:
            positions = gathering.batch_indices(epoch, start=start)
            return ([LazyBatch(gathering, indices, epoch)] for indices in positions)
        return microbatches(
            self.train.epoch(epoch, start=start),
            self.config.gradient_accumulation_steps,
            self.device,
        )

    def step(self, window: Sequence[BatchLike]) -> StepResult:
        """Make one step of the optimizer."""
        if self._graph is None:
            return self.engine.step(self.state.step, window)
        return self._graph.step(self.state.step, window[0])

    @property
    def lr(self) -> float:
        """The learning rate of the latest step, of the first group."""
        group = self.optimizer.param_groups[0]
        if self._graph is None:
            return float(group["lr"])
        # What lies on the device is the same number in float32, and reading it would wait.
        done = max(self.state.step - 1, 0)
        return float(group["initial_lr"]) * self.config.schedule.ratio(done, self.total_steps)

    def end(self) -> None:
        """Give back the memory that only steps need."""
        self.engine.end()
        if self._graph is not None:
            self._graph.forget()

    def advance(self, window: Sequence[BatchLike], result: StepResult) -> None:
        """Note that a step was made."""
        self.state.batch += len(window)
        self.state.step += 1
        self.state.examples += sum(batch.indices.shape[0] for batch in window)
        self.meter.add(result.loss, result.weight, result.grad_norm)
        self.guard.record(self.state.step - 1, result.loss, result.grad_norm)
        if self.average is not None:
            self.average.update(self.model, self.state.step - 1)
        self.latest = result
        if self.task is None:
            self.task = task_of(self.objective, window[0].targets)

    def tick(self, *, training: bool = True) -> float:
        """Count the time since the last call, and return that of the whole training."""
        now = time.perf_counter()
        self.state.seconds += now - self._mark
        if training:
            self.state.epoch_seconds += now - self._mark
        self._mark = now
        return self.state.seconds

    def row(self, evaluation: Evaluation | None) -> EpochRow:
        """Return the figures of the epoch that has just been trained."""
        loss, grad_norm = self.meter.means()
        classes = None if evaluation is None else evaluation.classification
        state = self.state
        done = self.train.num_examples * state.batch / len(self.train)
        return EpochRow(
            epoch=state.epoch,
            step=state.step,
            lr=self.lr,
            train_loss=loss,
            seconds=state.epoch_seconds,
            examples_per_second=done / max(state.epoch_seconds, 1e-9),
            val_loss=None if evaluation is None else evaluation.loss,
            val_accuracy=None if classes is None else classes.accuracy,
            val_error=None if classes is None else 1.0 - classes.accuracy,
            grad_norm=grad_norm,
        )

    def close_epoch(self, row: EpochRow) -> bool:
        """Go on to the next epoch, and return whether the one behind was the best so far."""
        self.history.append(row)
        best = self._is_best(getattr(row, self.config.monitor))
        state = self.state
        if best:
            state.best_epoch, state.best_value = row.epoch, getattr(row, self.config.monitor)
            state.num_bad_epochs = 0
        elif getattr(row, self.config.monitor) is not None:
            state.num_bad_epochs += 1
        state.epoch += 1
        state.batch = 0
        state.epoch_seconds = 0.0
        self.meter.reset()
        return best

    def _is_best(self, value: float | None) -> bool:
        if value is None:
            return False
        if self.state.best_value is None:
            return True
        gain = self.state.best_value - value
        stopping = self.config.early_stopping
        least = 0.0 if stopping is None else stopping.min_delta
        return (gain if BETTER[self.config.monitor] == "lower" else -gain) > least

    @property
    def is_out_of_patience(self) -> bool:
        """Whether early stopping says that it is enough."""
        stopping = self.config.early_stopping
        return stopping is not None and self.state.num_bad_epochs >= stopping.patience

    def content(self) -> dict[str, Saved]:
        """Return everything that a resumed training needs, in tensors and plain values."""
        self.tick()
        rows = [row.to_dict() for row in self.history if row.epoch < self.state.epoch]
        callbacks = {key: callback.state_dict() for key, callback in self.callbacks.items()}
        scaler = self.engine.scaler
        content: dict[str, object] = {
            "versions": {
                "mlpkit": version("mlpkit"),
                "torch": str(torch.__version__),
                "python": platform.python_version(),
            },
            # without the folder: a file that is handed on tells nothing of the machine
            "config": dataclasses.replace(self.config, checkpoints=None).to_dict(),
            "model_config": _model_config(self.model),
            "identity": self._identity,
            "model": self.model.state_dict()
            if self.stashed_weights is None
            else self.stashed_weights,
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "total_steps": self.total_steps,
            "state": dataclasses.asdict(self.state),
            "meter": self.meter.state_dict(),
            "history": rows,
            "callbacks": {key: state for key, state in callbacks.items() if state},
            "rng": self.stream.state_dict(),
        }
        return cast("dict[str, Saved]", content)

    def save(self, path: Path) -> None:
        """Write a checkpoint, unless something in it is not finite.

        Raises:
            NonFiniteStep: If something is NaN or infinite; nothing is written then.
            CheckpointWriteError: If the file cannot be written.
        """
        self.guard.sync()
        content = self.content()
        name = first_nonfinite(content)
        if name is not None:
            raise self.nonfinite_step(f"{name} in the checkpoint")
        write_checkpoint(path, content)
        self.checkpoint = path

    def nonfinite_step(self, what: str, loss: float | None = None) -> NonFiniteStep:
        """Return the report that something is not finite after the latest step."""
        latest = self.latest
        if loss is None:
            loss = math.nan if latest is None else latest.loss.item()
        norm = math.nan if latest is None else latest.grad_norm.item()
        bad = NonFiniteStep(max(self.state.step - 1, 0), loss, norm)
        bad.add_note(f"what is not finite: {what}")
        return bad

    def nonfinite_error(self, bad: NonFiniteStep) -> NonFiniteError:
        """Return the error for a bad step, with all that the run knows of it."""
        base = float(self.optimizer.param_groups[0]["initial_lr"])
        error = NonFiniteError(
            step=bad.step,
            epoch=bad.step * self.config.epochs // self.total_steps,
            loss=bad.loss,
            lr=base * self.config.schedule.ratio(bad.step, self.total_steps),
            grad_norm=bad.grad_norm,
            checkpoint=self.checkpoint,
        )
        for note in getattr(bad, "__notes__", ()):
            error.add_note(note)
        return error

    @property
    def is_average_wanted(self) -> bool:
        """Whether there is an average of the weights that the model does not have."""
        average = self.average
        return average is not None and average.num_averaged > 0 and self.stashed_weights is None

    @contextlib.contextmanager
    def average_applied(self) -> Iterator[None]:
        """Give the model the averaged weights for a while, where an average is kept."""
        average = self.average
        if average is None or not self.is_average_wanted:
            yield
            return
        with self.stream.paused(), average.applied(self.model):
            self._reestimate()
            yield

    def load_averaged_weights(self) -> None:
        """Leave the averaged weights in the model; the checkpoints keep the model's own."""
        if self.average is not None and self.average.num_averaged:
            self.stash_weights()
            self.average.copy_to(self.model)
            self._reestimate()

    def load_best_weights(self, content: Mapping[str, Saved]) -> None:
        """Leave the weights of a checkpoint in the model, the average where one was kept."""
        self.stash_weights()
        self.model.load_state_dict(cast("dict[str, Tensor]", content["model"]))
        average = cast("AverageState | None", content["average"])
        if average is not None and average["num_averaged"] and self.config.averaging is not None:
            best = WeightAverage(self.model, self.config.averaging)
            best.load_state_dict(average)
            best.copy_to(self.model)
            self._reestimate()

    def stash_weights(self) -> None:
        """Set aside what training ended with, before the model gets other weights."""
        if self.stashed_weights is None:
            state = self.model.state_dict()
            self.stashed_weights = {name: value.clone() for name, value in state.items()}

    def _reestimate(self) -> None:
        """Measure batch norm anew for weights that were never trained with."""
        batches = self.train.epoch(min(self.state.epoch, self.config.epochs - 1))
        with autocast(self.config.precision, self.device):
            reestimate_batch_norm(
                self.model, (on_device(batch, self.device).inputs for batch in batches)
            )

    def restore(self, path: Path, content: Mapping[str, Saved]) -> None:
        """Take over what :meth:`content` gave, after a look at whether it is the same training.

        Raises:
            CheckpointCorruptError: If something is missing in the checkpoint.
            ResumeMismatchError: If it belongs to other data, another model or other settings.
        """
        missing = sorted(_CONTENT - content.keys())
        if missing:
            raise CheckpointCorruptError(f"{path} must hold {', '.join(missing)}, got none")
        state = TrainState(**cast("dict[str, int]", content["state"]))
        saved = cast("dict[str, str]", content["identity"])
        config = (
            _serialization.from_dict(  # a setting that is newer than the file has its default there
                TrainerConfig, cast("dict[str, JSONValue]", content["config"]), source=str(path)
            )
        )
        states = cast("dict[str, dict[str, JSONValue]]", content["callbacks"])
        if cast("dict[str, str]", content["versions"])["torch"] != str(torch.__version__):
            saved = normalize_reprs(saved, self._identity, self.model)
        check_same(path, {**saved, **settings(config)}, {**self._identity, **settings(self.config)})
        check_same(
            path,
            {f"callbacks.{key}": "with a state" for key in states},
            {f"callbacks.{key}": "with a state" for key in states if key in self.callbacks},
        )
        check_same(path, *self._rates(state.step, cast("int", content["total_steps"])))
        self.state = state
        self.history = History.from_dict(cast("list[dict[str, object]]", content["history"]))
        self.model.load_state_dict(cast("dict[str, Tensor]", content["model"]))
        self.optimizer.load_state_dict(cast("dict[str, object]", content["optimizer"]))
        if self._graph is not None:
            keep_lr_on_device(self.optimizer, self.device)
        if self.engine.scaler is not None:
            self.engine.scaler.load_state_dict(cast("dict[str, object]", content["scaler"]))
        if self.average is not None:
            self.average.load_state_dict(cast("AverageState", content["average"]))
        self.meter.load_state_dict(cast("list[float]", content["meter"]))
        for key, plain in states.items():
            self.callbacks[key].load_state_dict(plain)
        self.stream.load_state_dict(cast("dict[str, Tensor]", content["rng"]))
        self.checkpoint = path
        self._mark = time.perf_counter()
        written_with = cast("dict[str, str]", content["versions"])["torch"]
        if written_with != str(torch.__version__):
            warnings.warn(
                f"{path} was written with torch {written_with}, resuming with "
                f"{torch.__version__}: the result may differ in the last bits",
                stacklevel=4,
            )

    @functools.cached_property
    def _identity(self) -> dict[str, str]:
        return identity(self.model, self.objective, self.optimizer, self.train, self.val)

    def _rates(self, done: int, saved_total: int) -> tuple[dict[str, str], dict[str, str]]:
        """Return the schedule's length saved and now, if the steps done tell the difference."""
        config = self.config
        every = max(1, done // 1000)
        for step in {*range(0, done + 1, every), done}:
            rates = [
                (
                    config.schedule.ratio(step, total),
                    config.momentum_schedule and config.momentum_schedule.momentum(step, total),
                )
                for total in (saved_total, self.total_steps)
            ]
            if rates[0] != rates[1]:
                name = "schedule.total_steps"
                return {name: str(saved_total)}, {name: str(self.total_steps)}
        return {}, {}


_CONTENT = {
    *("versions", "average", "config", "identity", "model", "optimizer", "scaler", "total_steps"),
    *("state", "meter", "history", "callbacks", "rng"),
}


def _named(callbacks: Sequence[Callback]) -> dict[str, Callback]:
    """Return the callbacks by class name, numbered from the second of a class on."""
    named: dict[str, Callback] = {}
    for callback in callbacks:
        name = type(callback).__qualname__
        number = sum(key.partition("#")[0] == name for key in named)
        named[f"{name}#{number + 1}" if number else name] = callback
    return named


def _obeys_found_inf(
    optimizer: torch.optim.Optimizer, device: torch.device, config: TrainerConfig
) -> bool:
    """Return whether a bad step may be noted on the device, to be read later."""
    return (
        device.type == "cuda"
        and config.precision != "fp16"  # GradScaler uses the same flag for its own ends
        and all(group.get("fused") for group in optimizer.param_groups)
    )


def _model_config(model: nn.Module) -> dict[str, JSONValue] | None:
    """Return the configuration of a model that has one, so that it can be built again."""
    config: object = getattr(model, "config", None)
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return _serialization.to_dict(config)
    return None
