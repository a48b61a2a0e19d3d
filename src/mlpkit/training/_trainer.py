"""The training loop."""

from __future__ import annotations

import copy
import dataclasses
import math
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mlpkit._checks import error_message
from mlpkit._devices import autocast, available_device, evaluation_mode, is_training
from mlpkit.errors import CheckpointError, CheckpointWriteError, TrainingInterrupted
from mlpkit.training._callbacks import Callback, StepInfo, hooks
from mlpkit.training._config import TrainerConfig
from mlpkit.training._determinism import deterministic_algorithms
from mlpkit.training._lr_finder import LRCurve, range_test
from mlpkit.training._nonfinite import NonFiniteStep
from mlpkit.training._progress_bar import ProgressBar
from mlpkit.training._run import Run, StopReason, TrainState
from mlpkit.training._signals import StopSignals
from mlpkit.training.batches import BatchSource, TrainingData, as_batches
from mlpkit.training.checkpoints import prepare_folder, read_checkpoint
from mlpkit.training.metrics import (
    EpochRow,
    Evaluation,
    History,
    evaluate,
    forward,
)
from mlpkit.training.objectives import CrossEntropy, Mixup, Objective, Task, VirtualAdversarial
from mlpkit.training.optim import build_optimizer, set_initial_lr

__all__ = ["FitResult", "OptimizerFactory", "Trainer"]

OptimizerFactory: TypeAlias = Callable[[Iterable[nn.Parameter]], Optimizer]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitResult:
    """How a training ended.

    Attributes:
        stop_reason: ``"completed"``, ``"early_stopping"``, ``"time"`` (``max_seconds`` are over)
            or ``"callback"`` (one called ``trainer.stop()``).
        state: Where the training stands.
        history: One row for each epoch.
        last: The newest checkpoint; None where none was asked for.
        best: The checkpoint of the best epoch; None where there is none.
    """

    stop_reason: StopReason
    state: TrainState
    history: History
    last: Path | None
    best: Path | None


class Trainer:
    """Trains a model, and loses nothing on the way.

    The examples come in an order that is a pure function of ``config.seed`` and the epoch, and
    dropout draws from a stream of the training's own, so the result depends on nothing outside.
    What is in a checkpoint suffices to go on exactly: a training that was killed and resumed ends
    with the same bits as one that was not, on the same machine with the same versions.

    NaN or infinity in loss or gradient stops the training before the optimizer uses it. SIGTERM
    and Ctrl-C finish the step, save and raise; a second one stops at once.

    Args:
        model: Any module. It is moved to the device of the configuration.
        config: The settings; None takes the defaults.
        objective: Loss of each example; None is cross-entropy with ``config.label_smoothing``.
        optimizer: Builds the optimizer from the parameters, for one that ``config.optimizer``
            cannot name; its learning rate is the base that the schedule multiplies.
        callbacks: Hooks, called in this order.

    Attributes:
        model: The model.
        config: The settings.
        objective: The loss of each example.
        device: Where the model is.
        state: Where the training stands, also after an exception.
        history: One row for each epoch, also after an exception.

    Raises:
        TypeError: If an argument is not what it should be.
        ValueError: If ``label_smoothing`` or ``mixup`` is asked of an objective of your own.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mlpkit.data import LabeledTensors
        >>> from mlpkit.training import OptimizerConfig, Trainer, TrainerConfig
        >>> inputs = torch.randn(256, 2, generator=torch.Generator().manual_seed(0))
        >>> data = LabeledTensors(inputs, (inputs[:, 0] > 0).long())
        >>> config = TrainerConfig(epochs=30, optimizer=OptimizerConfig(lr=0.1), progress=False)
        >>> trainer = Trainer(nn.Linear(2, 2), config)
        >>> result = trainer.fit(data)
        >>> result.stop_reason
        'completed'
        >>> trainer.evaluate(data).accuracy > 0.9
        True
    """

    def __init__(
        self,
        model: nn.Module,
        config: TrainerConfig | None = None,
        *,
        objective: Objective | None = None,
        optimizer: OptimizerFactory | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.config = TrainerConfig() if config is None else config
        if not isinstance(model, nn.Module):
            raise TypeError(error_message("model", "a torch.nn.Module", model))
        if not isinstance(self.config, TrainerConfig):
            raise TypeError(error_message("config", "a TrainerConfig", config))
        for callback in callbacks:
            if not isinstance(callback, Callback):
                raise TypeError(error_message("callbacks", "instances of Callback", callback))
        self.device = available_device(self.config.device)
        self.model = model.to(self.device)
        self.objective = _objective(self.config, objective)
        if self.config.cuda_graph:
            _check_can_be_recorded(self.device, self.objective, optimizer)
        self.state = TrainState()
        self.history = History()
        self._optimizer = optimizer
        self._callbacks = tuple(callbacks)
        self._run: Run | None = None
        self._signals = StopSignals()
        self._stop_reason: StopReason | None = None

    # ------------------------------------------------------------------ training

    def fit(
        self,
        train: TrainingData,
        val: TrainingData | None = None,
        *,
        resume: str | os.PathLike[str] | None = None,
    ) -> FitResult:
        """Train the model for ``config.epochs`` epochs, or until something says to stop.

        Each call is a training of its own, from the weights that the model has, unless it resumes
        one. Whichever way it ends, the model is in evaluation mode afterwards.

        Args:
            train: What to train on: ``LabeledTensors``, ``Batches`` or a ``DataLoader``.
            val: What to validate on; None validates nothing.
            resume: The checkpoint to go on from; ``"auto"`` takes the newest of
                ``config.checkpoints``, and begins anew where there is none yet.

        Raises:
            NonFiniteError: If a loss, gradient or parameter became NaN or infinite.
            TrainingInterrupted: If SIGTERM or Ctrl-C came; the checkpoint is written by then.
            CheckpointError: If a checkpoint could not be written or read.
            ResumeMismatchError: If ``resume`` belongs to another training.
        """
        run = self._begin(train, val, self._resume_path(resume))
        with (
            StopSignals() as self._signals,
            run.stream.active(),
            deterministic_algorithms(self.device, active=self.config.deterministic),
        ):
            try:
                self._call(run, "on_fit_start")
                with ProgressBar(
                    run.total_steps, initial=run.state.step, shown=self.config.progress
                ) as bar:
                    reason = self._train(run, bar)
                    bar.close(run.state.step)
                run.load_averaged_weights()
                result = self._result(run, reason)
                self._call(run, "on_fit_end", result)
                self._raise_interrupt(run)
            except BaseException as error:
                known = run.nonfinite_error(error) if isinstance(error, NonFiniteStep) else error
                self._call(run, "on_exception", known)
                if known is error:
                    raise
                raise known from None
            finally:
                self.model.eval()
                run.end()
        return result

    def _train(self, run: Run, bar: ProgressBar) -> StopReason:
        """Make the steps: read this to know what a training does."""
        config, state = self.config, run.state
        on_step_end = bool(hooks(self._callbacks, "on_step_end"))
        every_steps = None if config.checkpoints is None else config.checkpoints.every_steps

        while state.epoch < config.epochs and not run.is_out_of_patience:
            self.model.train()
            run.engine.begin_epoch()
            for window in run.microbatches():
                run.set_rates()
                result = run.step(window)
                run.advance(window, result)

                bar.move_to(state.step)
                if on_step_end:
                    info = StepInfo(state.epoch, state.step - 1, result.loss, run.lr)
                    self._call(run, "on_step_end", info)
                if state.step % config.sync_every == 0:
                    run.guard.sync()
                if every_steps is not None and state.step % every_steps == 0:
                    self._save_last(run)
                self._raise_interrupt(run)
                if config.max_seconds is not None and run.tick() >= config.max_seconds:
                    self._stop_reason = "time"
                if self._stop_reason is not None and state.batch < len(run.train):
                    self._finish_part(run)
                    return self._stop_reason

            self._finish_epoch(run, bar)
            if self._stop_reason is not None and state.epoch < config.epochs:
                return self._stop_reason
        return "early_stopping" if state.epoch < config.epochs else "completed"

    def _finish_epoch(self, run: Run, bar: ProgressBar) -> None:
        """Validate, note the row, save."""
        config, state = self.config, run.state
        run.guard.sync()
        run.tick()
        is_last = state.epoch + 1 == config.epochs or self._stop_reason is not None
        is_due = is_last or (state.epoch + 1) % config.validate_every == 0
        row = run.row(self._validate(run) if is_due else None)
        is_best = run.close_epoch(row)
        run.tick(training=False)
        bar.say(_summary(row))
        self._call(run, "on_epoch_end", row)
        if config.checkpoints is not None:
            if is_best and config.checkpoints.keep_best:
                self._save(run, config.checkpoints.best)
            every = config.checkpoints.every_epochs
            is_last = is_last or run.is_out_of_patience or self._stop_reason is not None
            if is_last or (every is not None and state.epoch % every == 0):
                self._save_last(run)
        self._raise_interrupt(run)

    def _finish_part(self, run: Run) -> None:
        """Save an epoch that was stopped in its middle, then show how good it is."""
        run.guard.sync()
        self._save_last(run)
        run.tick()
        row = run.row(self._validate(run))
        run.history.append(row)  # not in a checkpoint: a resumed training finishes the epoch
        self._call(run, "on_epoch_end", row)

    def _validate(self, run: Run) -> Evaluation | None:
        if run.val is None:
            return None
        try:
            with run.average_applied(), run.stream.paused():
                evaluation = self._evaluate(run.val, poll=self._poll)
        except _SignalCameError:
            self._raise_interrupt(run)
            raise
        if not math.isfinite(evaluation.loss):
            raise run.nonfinite_step("the validation loss", evaluation.loss)
        return evaluation

    def _poll(self) -> None:
        if self._signals.signum is not None:
            raise _SignalCameError

    def _raise_interrupt(self, run: Run) -> None:
        """If a signal came, save and say so."""
        if self._signals.signum is not None:
            raise TrainingInterrupted(self._signals.signum, self._save_last(run))

    def stop(self) -> None:
        """Ask the training to stop after the present step or epoch; for callbacks."""
        self._stop_reason = "callback"

    def _call(self, run: Run, hook: str, *arguments: object) -> None:
        """Call a hook of every callback, with the caller's random state."""
        methods = hooks(self._callbacks, hook)
        if methods:
            with run.stream.paused():
                for method in methods:
                    method(self, *arguments)

    # ------------------------------------------------------------------ using the model

    def evaluate(self, data: TrainingData) -> Evaluation:
        """Return loss and, for a classifier, accuracy, confusion matrix and calibration.

        The model computes in evaluation mode, and every module gets its own mode back. Where an
        average of the weights is kept, it is the average that is evaluated.

        Args:
            data: What to evaluate on: ``LabeledTensors``, ``Batches`` or a ``DataLoader``.

        Raises:
            TypeError: If ``data`` is none of these.
            ValueError: If there is no example.
        """
        run = self._run
        batches = self._batches("data", data, shuffle=False)
        with (
            run.average_applied() if run else nullcontext(),
            run.stream.paused() if run else nullcontext(),
        ):
            return self._evaluate(batches, classes=getattr(data, "classes", None))

    def predict(self, x: Tensor) -> Tensor:
        """Return the class of each example, int64, or the output itself for a regression.

        Args:
            x: Inputs of the model, ``(N, ...)``, on any device; computed in batches of
                ``config.eval_batch_size``. A single vector is one example.
        """
        outputs = self._outputs(x)
        return outputs if self._task == "regression" else outputs.argmax(dim=-1)

    def predict_proba(self, x: Tensor) -> Tensor:
        """Return the probability of each class, the softmax of the model's logits.

        Args:
            x: Inputs of the model, ``(N, ...)``, on any device; computed in batches of
                ``config.eval_batch_size``. A single vector is one example.

        Raises:
            ValueError: If the training is a regression.
        """
        if self._task == "regression":
            rule = "one of a classification for predict_proba"
            raise ValueError(error_message("objective", rule, self.objective, "use predict"))
        return self._outputs(x).softmax(dim=-1)

    @property
    def _task(self) -> Task:
        """What the training turned out to be, or what its objective says."""
        known = None if self._run is None else self._run.task
        return known or getattr(self.objective, "task", None) or "classification"

    @torch.inference_mode()
    def _outputs(self, x: Tensor) -> Tensor:
        if not isinstance(x, Tensor):
            raise TypeError(error_message("x", "a Tensor", x, "convert with torch.as_tensor"))
        config, run = self.config, self._run
        size = config.eval_batch_size
        is_plain = config.precision == "fp32" and (run is None or not run.is_average_wanted)
        if is_plain and not is_training(self.model):
            return forward(self.model, x, size, self.device)  # one small tensor: no time to lose
        with (
            run.average_applied() if run else nullcontext(),
            evaluation_mode(self.model),
            autocast(config.precision, self.device),
        ):
            return forward(self.model, x, size, self.device).float()

    def _evaluate(
        self,
        batches: BatchSource,
        *,
        classes: Sequence[str] | None = None,
        poll: Callable[[], None] | None = None,
    ) -> Evaluation:
        return evaluate(
            self.model,
            batches,
            self.objective,
            precision=self.config.precision,
            device=self.device,
            classes=classes,
            poll=poll,
        )

    def find_lr(
        self, train: TrainingData, *, low: float = 1e-6, high: float = 1.0, steps: int = 100
    ) -> LRCurve:
        """Try growing learning rates on a copy of the model, and suggest one to begin with.

        The model, the random generators and a training that was made stay as they are.

        Args:
            train: What to train on.
            low: The first rate, above 0.
            high: The last rate; the test stops before where the loss explodes.
            steps: Number of optimizer steps, at least 10.

        Raises:
            ValueError: If the loss falls at no rate of the range.

        References:
            Smith 2017, "Cyclical Learning Rates for Training Neural Networks", section 3.3.
        """
        model = copy.deepcopy(self.model)
        run = Run(
            model,
            dataclasses.replace(self.config, averaging=None, checkpoints=None, cuda_graph=False),
            self.objective,
            self._build_optimizer(model),
            train=self._batches("train", train, shuffle=True),
            val=None,
            callbacks=(),
            device=self.device,
        )
        with run.stream.active():
            return range_test(run, low=low, high=high, steps=steps)

    # ------------------------------------------------------------------ saving

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a checkpoint of the training, present or past, and return its path.

        Raises:
            CheckpointWriteError: If there is nothing to save, or the file cannot be written.
            NonFiniteError: If something in it is NaN or infinite.
        """
        if self._run is None:
            raise CheckpointWriteError(f"{path} was not written: fit has not been called")
        try:
            return self._save(self._run, Path(path))
        except NonFiniteStep as bad:
            raise self._run.nonfinite_error(bad) from None

    def load_best(self) -> None:
        """Give the model the weights of the best epoch of this training.

        Raises:
            CheckpointError: If there is no such checkpoint, or it cannot be read.
        """
        best = None if self._run is None else self._best(self._run)
        if self._run is None or best is None:
            raise CheckpointError("no best checkpoint was written; ask for one in checkpoints")
        self._run.load_best_weights(read_checkpoint(best))

    def _save_last(self, run: Run) -> Path | None:
        checkpoints = self.config.checkpoints
        return None if checkpoints is None else self._save(run, checkpoints.last)

    def _save(self, run: Run, path: Path) -> Path:
        run.save(path)
        self._call(run, "on_checkpoint", path)
        return path

    def _best(self, run: Run) -> Path | None:
        folder = self.config.checkpoints
        kept = folder is not None and folder.keep_best and run.state.best_epoch is not None
        return folder.best if folder is not None and kept and folder.best.exists() else None

    # ------------------------------------------------------------------ beginning and end

    def _begin(self, train: TrainingData, val: TrainingData | None, resume: Path | None) -> Run:
        """Put together what the training needs, and go back to where a checkpoint left it."""
        config = self.config
        if config.early_stopping is not None and val is None and config.monitor != "train_loss":
            rule = f"given for early stopping on {config.monitor}"
            raise ValueError(error_message("val", rule, None, 'or set monitor="train_loss"'))
        if config.checkpoints is not None:
            prepare_folder(config.checkpoints, resuming=resume is not None)
        run = Run(
            self.model,
            config,
            self.objective,
            self._build_optimizer(self.model),
            train=self._batches("train", train, shuffle=True),
            val=None if val is None else self._batches("val", val, shuffle=False),
            callbacks=self._callbacks,
            device=self.device,
        )
        if resume is not None:
            run.restore(resume, read_checkpoint(resume))
        self.state, self.history = run.state, run.history
        self._run, self._stop_reason = run, None
        return run

    def _resume_path(self, resume: str | os.PathLike[str] | None) -> Path | None:
        if resume != "auto":
            return None if resume is None else Path(resume)
        if self.config.checkpoints is None:
            rule = "a path where the configuration names no checkpoints"
            raise ValueError(error_message("resume", rule, resume, "set checkpoints in the config"))
        # the best is written first: a kill between the two leaves it alone, and it is as complete
        found = (self.config.checkpoints.last, self.config.checkpoints.best)
        return next((path for path in found if path.exists()), None)

    def _build_optimizer(self, model: nn.Module) -> Optimizer:
        if self._optimizer is None:
            return build_optimizer(model, self.config.optimizer)
        optimizer = self._optimizer(p for p in model.parameters() if p.requires_grad)
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                error_message("optimizer", "a function that returns an Optimizer", optimizer)
            )
        set_initial_lr(optimizer)
        return optimizer

    def _batches(self, argument: str, data: TrainingData, *, shuffle: bool) -> BatchSource:
        config = self.config
        size = config.batch_size if shuffle else config.eval_batch_size
        return as_batches(argument, data, batch_size=size, shuffle=shuffle, seed=config.seed)

    def _result(self, run: Run, reason: StopReason) -> FitResult:
        checkpoints = self.config.checkpoints
        return FitResult(
            stop_reason=reason,
            state=run.state,
            history=run.history,
            last=None if checkpoints is None else checkpoints.last,
            best=self._best(run),
        )


def _check_can_be_recorded(
    device: torch.device, objective: Objective, optimizer: OptimizerFactory | None
) -> None:
    """Refuse what decides on the host, in each step, what the device has to do."""
    if optimizer is not None:
        rule = "None for cuda_graph"
        cure = "name one in config.optimizer, whose learning rate can be kept on the device"
        raise ValueError(error_message("optimizer", rule, optimizer, cure))
    if isinstance(objective, Mixup | VirtualAdversarial):
        rule = "one that draws no random numbers for cuda_graph"
        raise ValueError(error_message("objective", rule, objective, "set cuda_graph=False"))  # noqa: TRY004 - its type is right, its use is not
    if device.type != "cuda":
        rule = "a CUDA device for cuda_graph"
        raise ValueError(error_message("device", rule, str(device), "set cuda_graph=False"))


def _objective(config: TrainerConfig, given: Objective | None) -> Objective:
    """Return the objective given, or the one that the configuration describes."""
    if given is None:
        plain = CrossEntropy(label_smoothing=config.label_smoothing)
        return plain if config.mixup is None else Mixup(config.mixup, objective=plain)
    for name, value, default in (
        ("label_smoothing", config.label_smoothing, 0.0),
        ("mixup", config.mixup, None),
    ):
        if value != default:
            cure = f"give your objective its {name} itself"
            raise ValueError(
                error_message(name, f"{default} with an objective of your own", value, cure)
            )
    return given


def _summary(row: EpochRow) -> str:
    """Return what a progress bar says of an epoch."""
    text = f"epoch {row.epoch + 1}, loss {row.train_loss:.4f}"
    if row.val_error is not None:
        return f"{text}, val error {row.val_error:.2%}"
    return text if row.val_loss is None else f"{text}, val loss {row.val_loss:.4f}"


class _SignalCameError(Exception):
    """Ends a validation early."""
