"""The training loop."""

from __future__ import annotations

import copy
import dataclasses
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mlpkit._checks import Unquoted, error_message
from mlpkit._class_names import check_same_classes, class_names
from mlpkit._devices import autocast, available_device, evaluation_mode, has_fast_bf16
from mlpkit.errors import CheckpointError, CheckpointWriteError
from mlpkit.training._config import TrainerConfig
from mlpkit.training._default_objective import choose_objective
from mlpkit.training._determinism import deterministic_algorithms
from mlpkit.training._fit_result import FitResult, StopReason
from mlpkit.training._hooks import CallbackLike, StepInfo, hooks
from mlpkit.training._lr_finder import LRCurve, range_test
from mlpkit.training._model import check_model
from mlpkit.training._monitor import known_monitor
from mlpkit.training._nonfinite import NonFiniteStep
from mlpkit.training._predictor import (
    ProbabilityPredictor,
    find_predictor,
    find_thresholds,
    task_of_model,
)
from mlpkit.training._progress import Progress, show_progress
from mlpkit.training._ranks import Ranks, join_ranks
from mlpkit.training._run import (
    OptimizerFactory,
    Run,
    RunSetup,
    RunStart,
    begin_run,
    build_stepper,
    eval_batches,
    train_batches,
)
from mlpkit.training._run_config import run_config
from mlpkit.training._signals import StopSignals, interruption
from mlpkit.training._tracker import TrainState
from mlpkit.training.batches import BatchSource, StatefulSource, TrainingData
from mlpkit.training.checkpoints import RandomStream, load_checkpoint
from mlpkit.training.distributed import ParallelForward, copy_whole
from mlpkit.training.metrics import (
    CustomMetrics,
    EpochRow,
    Evaluation,
    History,
    MetricLike,
    compute_metrics,
    evaluate,
    forward,
)
from mlpkit.training.objectives import (
    Mixup,
    Objective,
    Task,
    VirtualAdversarial,
    predictions_without_targets,
)

__all__ = ["Trainer"]

_SLOW_BF16 = (
    "precision 'bf16' is slower than 'fp32' on this CPU, as measured by a matrix product; "
    "`mlpkit info` shows the speed of each precision"
)


class Trainer:
    """Train a model with exact resume, non-finite detection and signal-safe checkpoints.

    The order of the examples is a pure function of ``config.seed`` and the epoch, and dropout uses
    a private random stream, so the result depends on nothing outside the run. A run that is killed
    and resumed from a checkpoint ends with the same bits as an undisturbed one, on the same machine
    with the same versions. The state of a module is its ``state_dict``: a buffer with
    ``persistent=False`` or an attribute that changes during training is not in a checkpoint.

    In a process of a ``torch.distributed`` group, such as one that ``torchrun`` launched, the
    trainer trains with all processes of the group: each computes a part of every batch, and
    :class:`torch.nn.parallel.DistributedDataParallel` sums the gradients, or with
    ``config.sharding`` :func:`torch.distributed.fsdp.fully_shard`. Every process makes the same
    calls; :meth:`evaluate` and :meth:`predict` after a run also work in one alone.

    NaN or infinity in the loss or the gradient ends the run before the optimizer uses it. SIGTERM
    and Ctrl-C end it after the current step, with a checkpoint; a second one ends it immediately.

    Args:
        model: Any module. It is moved to the device of the configuration.
        config: The settings; None uses the defaults.
        objective: Loss of each example. None means the default of the model, such as the scaled
            mean squared error of :class:`mlpkit.Regressor`, or, for a module that names none, the
            cross-entropy with ``config.label_smoothing`` and ``config.mixup``; targets that are
            neither class indices nor distributions are refused then.
        optimizer: Function that builds the optimizer from the parameters, for an optimizer that
            ``config.optimizer`` does not support. The schedule multiplies its learning rate.
        callbacks: Instances of :class:`Callback`; their hooks are called in this order.
        metrics: Metrics of the outputs of the model by name; the metric ``f1`` is the column
            ``val_f1`` of the history. A metric is a function ``(outputs, targets)`` that returns
            one number, or an object with ``update(outputs, targets)``, ``compute()`` and
            ``reset()``, such as those of torchmetrics. The outputs are what a call of the model
            returns, such as logits. A function gets those of all validation examples, which are
            kept on the device of the model until then: :math:`4 N C` bytes for :math:`N` examples
            with :math:`C` outputs. An object gets one batch at a time. Both must not change the
            tensors. Weights of the examples are not used.

    Attributes:
        model: The model.
        objective: The loss of each example.
        device: Device of the model; with ``config.sharding`` and several processes the CPU.
        state: Counters of the run, also after an exception.
        history: One row for each epoch, also after an exception.

    Raises:
        TypeError: If an argument has the wrong type, or the model a part in TorchScript.
        ValueError: If ``label_smoothing`` or ``mixup`` is set together with ``objective``, it has
            trainable parameters that are not the model's, the name of a metric is no identifier or
            the name of another column, or ``config.monitor`` is no column of a run with these
            metrics.

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
        callbacks: Sequence[CallbackLike] = (),
        metrics: Mapping[str, MetricLike] | None = None,
    ) -> None:
        self._config = TrainerConfig() if config is None else config
        self._run: Run | None = None
        check_model("model", model)
        if not isinstance(self._config, TrainerConfig):
            raise TypeError(error_message("config", "a TrainerConfig", config))
        for callback in callbacks:
            if isinstance(callback, type) or not isinstance(callback, CallbackLike):
                raise TypeError(error_message("callbacks", "instances of Callback", callback))
        self._ranks = join_ranks()
        self._run_device = self._ranks.device(available_device(self.config.device))
        self._is_sharded = self.config.sharding and self._ranks.size > 1
        self.device = torch.device("cpu") if self._is_sharded else self._run_device
        self.model = model.to(self.device)
        self._given_objective = objective
        self.objective = choose_objective(self._config, model, objective)
        if self.config.cuda_graph:
            _check_can_be_captured(self._run_device, self.objective, optimizer, self._ranks)
        self.state = TrainState()
        self.history = History()
        self._optimizer_factory = optimizer
        self._callbacks = tuple(callbacks)
        self._metrics = CustomMetrics(metrics)
        known_monitor(self._config.monitor, self._metrics)
        self._signals = StopSignals()
        self._asked: StopReason | None = None  # of this process
        self._stop_reason: StopReason | None = None  # of all processes
        self._is_training = False  # between the first and the last step of fit

    @property
    def rank(self) -> int:
        """Number of this process among those of the run, from 0; the first one writes the files."""
        return self._ranks.rank

    @property
    def world_size(self) -> int:
        """Number of processes that train the model together."""
        return self._ranks.size

    @property
    def config(self) -> TrainerConfig:
        """The settings; once ``fit`` has been called, with a value for every default."""
        return self._config if self._run is None else self._run.config

    # ------------------------------------------------------------------ training

    def fit(
        self,
        train: TrainingData,
        val: TrainingData | None = None,
        *,
        resume: str | os.PathLike[str] | None = None,
        warm_start: bool = False,
        init_from: str | os.PathLike[str] | None = None,
        init_optimizer: bool = False,
    ) -> FitResult:
        """Train the model for ``config.epochs`` epochs, or until a limit or a callback stops it.

        Each call starts a new run from the current weights of the model, unless one of the last
        four arguments says otherwise. At most one of ``resume``, ``warm_start`` and ``init_from``
        can be given. The exception is ``resume="auto"`` with ``init_from``, which is used only if
        there is no checkpoint to resume from yet. A fitted temperature of the model is reset to 1.
        The model is in evaluation mode afterwards, also after an exception. A run in bf16 on a CPU
        where bf16 products are slower than fp32 products warns.

        Args:
            train: Examples to train on: ``LabeledTensors``, ``Batches``, or a ``DataLoader``. One
                over an ``IterableDataset``, or without a length, is a stream: it is read on from
                epoch to epoch, and a new pass begins where one ends. Without a length it needs
                ``steps_per_epoch`` or ``max_steps``.
            val: Examples to validate on; None validates nothing. Each validation reads one pass,
                which must end.
            resume: Path of the checkpoint to resume from. ``"auto"`` resumes from the newest one of
                ``config.checkpoints``, or starts a new run if there is none yet. The data and the
                settings must be those of its run, except for settings that do not change a step:
                ``checkpoints``, ``device``, ``early_stopping``, ``epochs``, ``eval_batch_size``,
                ``max_seconds``, ``max_steps``, ``progress``, ``train_metrics`` and
                ``validate_every``. More epochs or steps require a schedule that does not depend on
                their number, such as a constant one. A stream must have ``state_dict`` and
                ``load_state_dict``: the loader, as torchdata's ``StatefulDataLoader``, or its data
                set.
            warm_start: Continue the previous run of this trainer for ``config.epochs`` more epochs:
                with its trained weights, also where the model holds averaged or best ones, its
                optimizer, average, random stream, history and best epoch. The schedule is that of
                all steps together, those made and those to come, at the position that was reached:
                a constant rate stays what it is, a one-cycle schedule is stretched. If early
                stopping had ended the run, it counts from 0; ``max_seconds`` and ``max_steps`` are
                the limits of this call. The data may be others; a stream that is the same object is
                continued. To resume such a run in a new process, set ``config.epochs`` and
                ``config.max_steps`` to the sums. Without a previous run, this is a new run.
            init_from: Path of the checkpoint whose weights the new run starts from. They are those
                that its run validated: averaged, if it kept an average. Data and settings may be
                others; the history, the schedule and the random stream are those of a new run.
            init_optimizer: Start from the state of the optimizer in ``init_from`` too, such as the
                moments of Adam, and from the weights of its latest step. Learning rate and other
                options are those of ``config``.

        Raises:
            NonFiniteError: If a loss, a gradient or a parameter became NaN or infinite.
            TrainingInterrupted: If SIGTERM arrived; the checkpoint has been written then.
            TrainingKeyboardInterrupt: The same for Ctrl-C; a subclass of KeyboardInterrupt.
            CheckpointError: If a checkpoint cannot be written or read.
            ResumeMismatchError: If ``resume`` belongs to another run.
            ValueError: If arguments exclude one another, ``init_from`` is a checkpoint of a model
                with other parameters, the trainable parameters have changed before a warm start, or
                a stream without a state is resumed.
        """
        start = RunStart.from_arguments(
            self.config,
            self._run,
            ranks=self._ranks,
            resume=resume,
            warm_start=warm_start,
            init_from=init_from,
            init_optimizer=init_optimizer,
        )
        is_bf16_on_cpu = self.config.precision == "bf16" and self._run_device.type == "cpu"
        if is_bf16_on_cpu and not has_fast_bf16(self._run_device):
            warnings.warn(_SLOW_BF16, UserWarning, stacklevel=2)
        _refuse_inference_mode("fit")
        run = begin_run(self._setup(), train, val, start)
        self.state, self.history = run.tracker.state, run.tracker.history
        self.objective, self._run = run.stepper.objective, run
        self._asked = self._stop_reason = None
        with (
            torch.enable_grad(),
            StopSignals() as self._signals,
            run.stream.active(),
            deterministic_algorithms(self._run_device, active=self.config.deterministic),
        ):
            try:
                self._call(run, "on_fit_start")
                if self.config.checkpoints is not None:
                    run.checkpointer.check_states()
                with show_progress(
                    run.stepper.total_steps,
                    shown=self.config.progress if self._ranks.is_first else False,
                    epochs=run.config.epochs,
                    label_smoothing=run.config.label_smoothing,
                    initial=self.state.step,
                    history=self.history,
                ) as progress:
                    self._is_training = True
                    try:
                        reason = self._train(run, progress)
                    finally:
                        self._is_training = False
                run.weights.load_final_weights(run.best)
                self._ranks.share_tensors(run.stepper.model.buffers())
                self._copy_from_shards(run)
                result = self._result(run, reason)
                self._call(run, "on_fit_end", result)
                self._raise_interrupt(run)
            except BaseException as error:
                shown = self._shown_error(run, error)
                self._call(run, "on_exception", shown)
                if shown is error:
                    raise
                raise shown from None
            finally:
                self.model.eval()
                run.stepper.end()
        return result

    def _train(self, run: Run, progress: Progress) -> StopReason:
        """Run the loop over epochs and steps."""
        config, state, stepper, tracker = run.config, self.state, run.stepper, run.tracker
        max_seconds = None
        if config.max_seconds is not None:
            max_seconds = config.max_seconds + run.seconds_before
        on_step_end = bool(hooks(self._called(), "on_step_end"))
        every_steps = None if config.checkpoints is None else config.checkpoints.every_steps

        while not (tracker.is_done or tracker.is_out_of_patience):
            left = None if config.max_steps is None else max(0, config.max_steps - state.step)
            stepper.model.train()
            stepper.engine.begin_epoch()
            stepper.rates.factor = state.lr_ratio
            for microbatches in stepper.microbatches(state.epoch, start=state.batch, limit=left):
                if tracker.task is None:
                    tracker.start(microbatches[0].targets)
                result = stepper.step(state.step, microbatches)
                tracker.update(microbatches, result)
                run.weights.update(state.step - 1)

                progress.update(state.step)
                if on_step_end:
                    info = StepInfo(state.epoch, state.step - 1, result.loss, self.lr)
                    self._call(run, "on_step_end", info)
                if state.step % config.sync_every == 0:
                    stepper.guard.sync()
                if every_steps is not None and state.step % every_steps == 0:
                    self._save_last(run)
                if max_seconds is not None and tracker.tick() >= max_seconds:
                    self._asked = "time"
                self._raise_interrupt(run)
                is_complete = state.batch == len(stepper.train) or state.step == config.max_steps
                if self._stop_reason is not None and not is_complete:
                    self._finish_partial_epoch(run, progress)
                    return self._stop_reason

            self._finish_epoch(run, progress)
            if self._stop_reason is not None and not tracker.is_done:
                return self._stop_reason
        return "completed" if tracker.is_done else "early_stopping"

    def _finish_epoch(self, run: Run, progress: Progress) -> None:
        """Validate, append the history row, and save."""
        config, tracker = run.config, run.tracker
        run.stepper.guard.sync()
        row, is_best = tracker.finish_epoch(
            lambda: self._validate(run),
            evaluate_train=lambda: self._evaluate_train(run),
            lr=self.lr,
            is_last=self._stop_reason is not None,
        )
        if run.best is not None:
            with run.stream.paused():
                model, averaged = run.stepper.model, run.weights.averaged()
                run.best.decide(model, is_best=is_best, averaged=averaged)
        self._copy_from_shards(run)
        progress.end_epoch(row, _summary(row, config.label_smoothing))
        self._call(run, "on_epoch_end", row)
        self._agree_to_stop()
        if config.checkpoints is not None:
            if is_best and config.checkpoints.keep_best:
                self._save(run, config.checkpoints.best)
            is_last = tracker.is_done or tracker.is_out_of_patience
            is_stopping = self._stop_reason is not None  # also since a callback asked for it
            every = config.checkpoints.every_epochs
            is_due = every is not None and self.state.epoch % every == 0
            if is_last or is_stopping or is_due:
                self._save_last(run)
        self._raise_interrupt(run)

    def _finish_partial_epoch(self, run: Run, progress: Progress) -> None:
        """Save in the middle of an epoch, then validate."""
        run.stepper.guard.sync()
        self._save_last(run)
        run.tracker.tick()
        train = self._evaluate_train(run)
        row = run.tracker.row(self._validate(run), train=train, lr=self.lr)
        self.history.append(row)  # in no checkpoint: a resumed run completes the epoch
        self._copy_from_shards(run)
        progress.end_epoch(row, _summary(row, run.config.label_smoothing))
        self._call(run, "on_epoch_end", row)

    def _validate(self, run: Run) -> Evaluation | None:
        """Evaluate the averaged weights on the validation data."""
        if run.val is None:
            return None
        with self._evaluating(run):
            evaluation = self._evaluate(run.val, run=run, custom=self._metrics)
            evaluation = run.ranks.share(evaluation)  # a custom metric may differ
            if run.best is not None:
                run.best.propose(run.stepper.model)
            return evaluation

    def _evaluate_train(self, run: Run) -> Evaluation | None:
        """Evaluate the averaged weights on the training data, if ``train_metrics`` is set."""
        if run.train is None:
            return None
        with self._evaluating(run):
            return self._evaluate(run.train, run=run)

    @contextmanager
    def _evaluating(self, run: Run) -> Iterator[None]:
        """Give the model the averaged weights within a ``with`` block, which a signal ends."""
        try:
            with run.stream.paused(), run.weights.averaged():
                self._ranks.share_tensors(run.stepper.model.buffers())
                yield
        except _SignalArrivedError:
            self._raise_interrupt(run)
            raise

    def _poll(self) -> None:
        # Several processes finish a validation together, and stop after it.
        if self._signals.signum is not None and self._ranks.size == 1:
            raise _SignalArrivedError

    def _agree_to_stop(self) -> int:
        """Give every process the reason to stop that one of them has; return the signal, or 0.

        What a signal or :meth:`stop` changes later counts at the next call: between two calls all
        processes decide alike, whenever it arrives.
        """
        reasons: tuple[StopReason | None, ...] = (None, "time", "callback")
        own = self._signals.signum or 0, reasons.index(self._asked)
        signum, reason = self._ranks.largest(own)
        self._stop_reason = reasons[reason]
        return signum

    def _raise_interrupt(self, run: Run) -> None:
        """If a signal arrived at any process, save and raise."""
        signum = self._agree_to_stop()
        if signum:
            raise interruption(signum, self._save_last(run))

    def _shown_error(self, run: Run, error: BaseException) -> BaseException:
        """Return the error that users see."""
        if isinstance(error, NonFiniteStep):
            return run.stepper.nonfinite_error(error, run.checkpointer.path)
        return error

    def stop(self) -> None:
        """End the run after the current step or epoch; for callbacks."""
        self._asked = "callback"

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer of the current or latest run.

        Raises:
            RuntimeError: If ``fit`` has not been called.
        """
        return self._known_run("optimizer").stepper.optimizer

    @property
    def lr(self) -> float:
        """The learning rate of the first parameter group at the latest step.

        Raises:
            RuntimeError: If ``fit`` has not been called.
        """
        return self._known_run("lr").stepper.rates.lr(max(self.state.step - 1, 0))

    def _known_run(self, name: str) -> Run:
        if self._run is None:
            rule = "read during or after fit"
            raise RuntimeError(error_message(f"trainer.{name}", rule, None, "call fit first"))
        return self._run

    def _call(self, run: Run, hook: str, *arguments: object) -> None:
        """Call a hook of every callback that has it, with the caller's random state."""
        methods = hooks(self._called(), hook)
        if methods:
            with run.stream.paused():
                for method in methods:
                    method(self, *arguments)

    def _called(self) -> list[CallbackLike]:
        """Return the callbacks of this process; loggers write on the first one alone."""
        return [
            callback
            for callback in self._callbacks
            if self._ranks.is_first or getattr(callback, "on_every_rank", True)
        ]

    # ------------------------------------------------------------------ using the model

    def evaluate(self, data: TrainingData) -> Evaluation:
        """Return the loss and the metrics of the model, also the custom ones of the trainer.

        A model whose class has ``predict`` and ``evaluate``, such as
        :class:`mlpkit.SoftmaxClassifier`, evaluates itself, with its fitted temperature; custom
        metrics take a second pass over the data then, without the temperature. The model
        is evaluated in evaluation mode; afterwards the mode of every module is restored. If an
        average of the weights is kept, it is evaluated.

        Args:
            data: Examples to evaluate: ``LabeledTensors``, ``Batches`` or a ``DataLoader``.

        Raises:
            TypeError: If ``data`` is none of these.
            ValueError: If there is no example.
        """
        check_same_classes({"model": self.model, "data": data})
        with self._final_weights():
            predictor = find_predictor(self.model)
            if predictor is None:
                batches = eval_batches("data", data, self._config)
                return self._evaluate(batches, classes=class_names(data), custom=self._metrics)
            evaluation = predictor.evaluate(
                data,
                objective=self.objective,
                batch_size=self.config.eval_batch_size,
                device=self.device,
                precision=self.config.precision,
            )
            if not self._metrics.names:
                return evaluation
            found = compute_metrics(
                self.model,
                eval_batches("data", data, self._config),
                self._metrics,
                precision=self.config.precision,
                device=self.device,
            )
            return dataclasses.replace(evaluation, metrics=found)

    def predict(self, x: Tensor) -> Tensor:
        """Return the predicted class of each example, int64, or the outputs for a regression.

        For a module that is trained on several labels, the result is whether the probability of
        each label is above 0.5, as bool. For one that is trained with :class:`GaussianNLL` it is
        the predicted means, ``(N, D)``; a call of the module returns the logarithms of the
        variances too. A model that predicts itself, such as :class:`mlpkit.Regressor`, returns what
        its ``predict`` returns, whatever the objective was.

        A custom objective says by its attribute ``task`` which of these it is. Without one the
        targets of the latest run do: a classification has class indices, and a regression has
        floating-point targets. The prediction of a regression is the outputs of the module, also
        where the objective has a method ``predictions``, which needs the targets.

        Args:
            x: Inputs of the model, ``(N, ...)``, on any device; computed in batches of
                ``config.eval_batch_size``. A single vector is one example.

        Raises:
            ValueError: If the outputs of a classification have fewer than two classes, or the
                objective has no ``task`` and ``fit`` has not been called.
        """
        predictor = find_predictor(self.model)
        if predictor is not None:
            with self._final_weights(), autocast(self.config.precision, self.device):
                return predictor.predict(x, batch_size=self.config.eval_batch_size)
        task, outputs = self._task, self._outputs(x)
        if task == "multilabel":
            return outputs > 0.0
        if task == "regression":
            return predictions_without_targets(self.objective, outputs)
        return _logits(x, outputs).argmax(dim=-1)

    def predict_proba(self, x: Tensor) -> Tensor:
        """Return the probability of each class.

        The probabilities are the softmax of the logits, or their sigmoid for a module that is
        trained on several labels. A model whose class has ``predict``,
        ``predict_proba`` and ``evaluate``, such as :class:`mlpkit.SoftmaxClassifier`, computes them
        itself, with its fitted temperature.

        Args:
            x: Inputs of the model, ``(N, ...)``, on any device; computed in batches of
                ``config.eval_batch_size``. A single vector is one example.

        Raises:
            ValueError: If the model was trained on a regression, or as in :meth:`predict`.
        """
        predictor = find_predictor(self.model)
        if isinstance(predictor, ProbabilityPredictor):
            with self._final_weights(), autocast(self.config.precision, self.device):
                return predictor.predict_proba(x, batch_size=self.config.eval_batch_size)
        task = self._task
        if task == "regression":
            rule = "one of a classification for predict_proba"
            raise ValueError(error_message("objective", rule, self.objective, "use predict"))
        outputs = self._outputs(x)
        return outputs.sigmoid() if task == "multilabel" else _logits(x, outputs).softmax(dim=-1)

    @property
    def _task(self) -> Task:
        """The task of the latest run, or the one that the model or the objective declares."""
        known = None if self._run is None else self._run.tracker.task  # of the first batch
        task: Task | None = (
            known or task_of_model(self.model) or getattr(self.objective, "task", None)
        )
        if task is None:
            rule = "one with the attribute task for predictions before fit"
            cure = 'set it, for instance to "regression"'
            raise ValueError(error_message("objective", rule, self.objective, cure))
        return task

    @contextmanager
    def _final_weights(self) -> Iterator[None]:
        """Give the model its averaged weights in a ``with`` block, if an average is kept."""
        run = self._run
        if run is None or not run.weights.needs_swap:
            yield
            return
        with run.weights.averaged():
            self._copy_from_shards(run)
            yield
        self._copy_from_shards(run)

    def _copy_from_shards(self, run: Run) -> None:
        """Give the model the weights of its sharded copy, if the run has one."""
        if self._is_sharded:
            copy_whole(run.stepper.model, self.model)

    def _outputs(self, x: Tensor) -> Tensor:
        if not isinstance(x, Tensor):
            raise TypeError(error_message("x", "a Tensor", x, "convert with torch.as_tensor"))
        with (
            self._final_weights(),  # outside of inference mode, in which shards cannot be gathered
            torch.inference_mode(),
            evaluation_mode(self.model),
            autocast(self.config.precision, self.device),
        ):
            outputs = forward(self.model, x, self.config.eval_batch_size, self.device)
        return outputs if self.config.precision == "fp32" else outputs.float()

    def _evaluate(
        self,
        batches: BatchSource,
        *,
        classes: Sequence[str] | None = None,
        custom: CustomMetrics | None = None,
        run: Run | None = None,
    ) -> Evaluation:
        """Return the metrics of the model; in a run, that of the steps on all processes."""
        model = self.model if run is None else run.stepper.model
        if run is not None and run.ranks.size > 1:
            model = ParallelForward(model, run.ranks)
        return evaluate(
            model,
            batches,
            self.objective,
            precision=self.config.precision,
            device=self.device if run is None else run.stepper.device,
            classes=classes,
            thresholds=find_thresholds(self.model),
            model_task=task_of_model(self.model),
            poll=None if run is None else self._poll,
            custom=custom,
        )

    @torch.enable_grad()
    def find_lr(
        self, train: TrainingData, *, low: float = 1e-6, high: float = 1.0, steps: int = 100
    ) -> LRCurve:
        """Train a copy of the model with growing learning rates, and suggest one to start with.

        The model, the random generators and an earlier run are not changed. Neither is the
        position of a stream with a state. Several processes make the steps together, as in
        :meth:`fit`.

        Args:
            train: Examples to train on, as in :meth:`fit`.
            low: The first rate, above 0.
            high: The last rate; the test ends earlier if the loss diverges.
            steps: Number of optimizer steps, at least 10.

        Raises:
            ValueError: If the loss does not decrease at any rate of the range, or the optimizer is
                lbfgs, which searches for a step size itself.

        References:
            Smith 2017, "Cyclical Learning Rates for Training Neural Networks", section 3.3.
        """
        _refuse_inference_mode("find_lr")
        check_same_classes({"model": self.model, "train": train})
        given = self._config.optimizer
        if self._optimizer_factory is None and given is not None and given.name == "lbfgs":
            rule = "an optimizer without a line search for find_lr"
            cure = "leave its learning rate at 1"
            raise ValueError(error_message("optimizer.name", rule, given.name, cure))
        setup = dataclasses.replace(self._setup(), model=copy.deepcopy(self.model))
        config = run_config(self._config, setup.model, self.objective, train, self._metrics)
        config = dataclasses.replace(config, cuda_graph=False)
        batches = train_batches(config, train)
        stepper = build_stepper(setup, config, self.objective, batches)
        stream = RandomStream(config.seed, setup.device, rank=self.rank)
        with stream.active(), _same_position(batches):
            return range_test(stepper, low=low, high=high, steps=steps)

    # ------------------------------------------------------------------ saving

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a checkpoint of the current or latest run, and return its path.

        With several processes every process calls this, and the first one writes.

        Raises:
            CheckpointWriteError: If there is nothing to save, or the file cannot be written.
            NonFiniteError: If a value in it is NaN or infinite.
        """
        run = self._run
        if run is None:
            raise CheckpointWriteError(f"{path} was not written: fit has not been called")
        try:
            return self._save(run, Path(path))
        except NonFiniteStep as found:
            raise run.stepper.nonfinite_error(found, run.checkpointer.path) from None

    def load_best(self) -> None:
        """Give the model the weights of the best epoch.

        It is that of the latest run: the one in memory with ``restore_best``, else the one in the
        folder of ``config.checkpoints``. If ``fit`` has not been called in this process, the one in
        the folder is read. In a callback, the run continues from the weights.

        Raises:
            CheckpointError: If there is no such checkpoint, or it cannot be read.
        """
        checkpoints, run = self.config.checkpoints, self._run
        if run is not None and run.best is not None and run.best.weights is not None:
            run.weights.load_best_weights(run.best.weights, None, is_training=self._is_training)
            self._copy_from_shards(run)
            return
        best = self._best() if run is not None or checkpoints is None else checkpoints.best
        if best is None or not best.exists():
            raise CheckpointError(
                "no best checkpoint was written; ask for one in checkpoints, or set restore_best"
            )
        found = load_checkpoint(best)
        if run is not None:
            run.weights.load_best_weights(
                found.trained_state, found.average, is_training=self._is_training
            )
            self._copy_from_shards(run)
            return
        # Without data, batch norm keeps the averaged statistics of the checkpoint.
        self.model.load_state_dict(dict(found.model_state))

    def _save_last(self, run: Run) -> Path | None:
        checkpoints = self.config.checkpoints
        return None if checkpoints is None else self._save(run, checkpoints.last)

    def _save(self, run: Run, path: Path) -> Path:
        run.checkpointer.save(path)
        self._call(run, "on_checkpoint", path)
        return path

    def _best(self) -> Path | None:
        folder = self.config.checkpoints
        is_kept = folder is not None and folder.keep_best and self.state.best_epoch is not None
        return folder.best if folder is not None and is_kept and folder.best.exists() else None

    def _setup(self) -> RunSetup:
        return RunSetup(
            model=self.model,
            config=self._config,
            objective=self._given_objective,
            optimizer=self._optimizer_factory,
            callbacks=self._callbacks,
            metrics=self._metrics,
            device=self._run_device,
            ranks=self._ranks,
        )

    def _result(self, run: Run, reason: StopReason) -> FitResult:
        checkpoints = self.config.checkpoints
        return FitResult(
            stop_reason=reason,
            state=run.tracker.state,
            history=run.tracker.history,
            last=None if checkpoints is None else checkpoints.last,
            best=self._best(),
        )


@contextmanager
def _same_position(source: BatchSource) -> Iterator[None]:
    """Restore the position of a source with a state after a ``with`` block."""
    if not isinstance(source, StatefulSource):
        yield
        return
    state = copy.deepcopy(dict(source.state_dict()))
    try:
        yield
    finally:
        source.load_state_dict(state)


def _logits(x: Tensor, outputs: Tensor) -> Tensor:
    """Return the outputs of a classification for inputs.

    Raises:
        ValueError: If there is no output for each class.
    """
    if outputs.ndim < min(x.ndim, 2) or outputs.shape[-1] < 2:
        rule = "logits of at least two classes, (N, C), for predictions of a classification"
        cure = 'call the model, or give the objective the attribute task="multilabel" for one label'
        raise ValueError(error_message("outputs", rule, tuple(outputs.shape), cure))
    return outputs


def _refuse_inference_mode(method: str) -> None:
    if torch.is_inference_mode_enabled():
        rule, found = "called outside of torch.inference_mode", Unquoted("a call inside")
        raise RuntimeError(error_message(method, rule, found, "leave the block first"))


def _check_can_be_captured(
    device: torch.device,
    objective: Objective,
    optimizer: OptimizerFactory | None,
    ranks: Ranks,
) -> None:
    """Raise if the host has to decide in each step what the device does."""
    if ranks.size > 1:
        rule = "False with several processes"
        raise ValueError(error_message("cuda_graph", rule, True, "capture a run of one process"))  # noqa: FBT003
    if optimizer is not None:
        rule = "None for cuda_graph"
        cure = "use config.optimizer, whose learning rate can be kept on the device"
        raise ValueError(error_message("optimizer", rule, optimizer, cure))
    if isinstance(objective, Mixup | VirtualAdversarial):
        rule = "one that draws no random numbers for cuda_graph"
        raise ValueError(error_message("objective", rule, objective, "set cuda_graph=False"))  # noqa: TRY004 - the type is valid, but not for this setting
    if device.type != "cuda":
        rule = "a CUDA device for cuda_graph"
        raise ValueError(error_message("device", rule, str(device), "set cuda_graph=False"))


def _summary(row: EpochRow, label_smoothing: float) -> str:
    """Return the text that a progress bar shows after an epoch."""
    text = f"epoch {row.epoch + 1}, loss {row.train_loss:.4f}"
    if label_smoothing:  # the validation loss has none, so they cannot be compared
        text += " (smoothed labels)"
    if row.val_error is not None:
        return f"{text}, val error {row.val_error:.2%}"
    return text if row.val_loss is None else f"{text}, val loss {row.val_loss:.4f}"


class _SignalArrivedError(Exception):
    """Ends a validation early."""
