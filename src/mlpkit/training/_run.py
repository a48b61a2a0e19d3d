"""The parts of a run, built from the arguments of a trainer."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from mlpkit._checks import check_bool, error_message
from mlpkit._class_names import check_same_classes
from mlpkit.training._config import CheckpointConfig, FilledConfig, TrainerConfig
from mlpkit.training._default_objective import choose_objective
from mlpkit.training._defaults import fill_from_run
from mlpkit.training._hooks import CallbackLike
from mlpkit.training._predictor import check_input_range, reset_calibration, task_of_model
from mlpkit.training._ranks import ALONE, Ranks
from mlpkit.training._run_config import (
    check_monitored_data,
    check_validation_data,
    run_config,
)
from mlpkit.training._stepper import Stepper
from mlpkit.training._tracker import Tracker
from mlpkit.training.batches import (
    BatchSource,
    TrainingData,
    as_batches,
    can_be_read_again,
    known_inputs,
    training_batches,
)
from mlpkit.training.checkpoints import (
    Checkpointer,
    RandomStream,
    check_folder,
    existing_checkpoints,
    load_initial_state,
    prepare_folder,
    read_checkpoint,
    saved_config,
)
from mlpkit.training.distributed import (
    accept_whole_state,
    check_can_be_sharded,
    copy_whole,
    sharded_copy,
)
from mlpkit.training.metrics import CustomMetrics
from mlpkit.training.objectives import Objective
from mlpkit.training.optim import (
    BestWeights,
    WeightSwapper,
    build_optimizer,
    check_steps_without_closure,
    set_initial_lr,
)

__all__ = [
    "OptimizerFactory",
    "Run",
    "RunSetup",
    "RunStart",
    "begin_run",
    "build_stepper",
    "eval_batches",
    "train_batches",
]

OptimizerFactory: TypeAlias = Callable[[Iterable[nn.Parameter]], Optimizer]


@dataclass(frozen=True, slots=True)
class RunSetup:
    """The arguments of a :class:`Trainer`; ``device`` is that of the steps."""

    model: nn.Module
    config: TrainerConfig
    objective: Objective | None
    optimizer: OptimizerFactory | None
    callbacks: Sequence[CallbackLike]
    metrics: CustomMetrics
    device: torch.device
    ranks: Ranks = ALONE

    @property
    def is_sharded(self) -> bool:
        """Whether each process has a part of every parameter during the run."""
        return self.config.sharding and self.ranks.size > 1


@dataclass(frozen=True, slots=True)
class RunStart:
    """Where a run starts; see :meth:`Trainer.fit`.

    Attributes:
        resume: Checkpoint to resume from.
        previous: Run to continue.
        init_from: Checkpoint whose weights a new run starts from.
        init_optimizer: Whether it starts from the state of the optimizer too.
    """

    resume: Path | None
    previous: Run | None
    init_from: Path | None
    init_optimizer: bool

    @classmethod
    def from_arguments(
        cls,
        config: TrainerConfig,
        previous: Run | None,
        *,
        ranks: Ranks = ALONE,
        resume: str | os.PathLike[str] | None,
        warm_start: bool,
        init_from: str | os.PathLike[str] | None,
        init_optimizer: bool,
    ) -> RunStart:
        """Check the arguments of :meth:`Trainer.fit`.

        Raises:
            ValueError: If they exclude one another.
        """
        _check_start(resume, init_from, warm_start=warm_start, init_optimizer=init_optimizer)
        checkpoint = ranks.share(_resume_path(config, resume))  # a shared folder may lag
        return cls(
            resume=checkpoint,
            previous=previous if warm_start else None,
            init_from=None if init_from is None or checkpoint is not None else Path(init_from),
            init_optimizer=init_optimizer,
        )


@dataclass(frozen=True, slots=True)
class Run:
    """The parts of one training run.

    Attributes:
        train: Training examples in order, if they are evaluated.
        num_epochs: Number of epochs of a call of ``fit``; with ``warm_start`` it adds as many.
        seconds_before: Duration of the earlier calls that the run continues.
    """

    config: FilledConfig
    stepper: Stepper
    tracker: Tracker
    weights: WeightSwapper
    best: BestWeights | None
    checkpointer: Checkpointer
    stream: RandomStream
    ranks: Ranks
    train: BatchSource | None
    val: BatchSource | None
    num_epochs: int
    seconds_before: float


def begin_run(
    setup: RunSetup, train: TrainingData, val: TrainingData | None, start: RunStart
) -> Run:
    """Build the parts of a run, and give them the state that it starts from."""
    model, device, metrics = setup.model, setup.device, setup.metrics
    resume, previous, init_from = start.resume, start.previous, start.init_from
    content, config = None, setup.config
    if init_from is not None:
        content = read_checkpoint(init_from)
    if previous is not None:
        config = fill_from_run(config, previous.config)
        num_epochs = previous.tracker.state.epoch + previous.num_epochs
        max_steps = config.max_steps  # of each call, as the epochs
        if max_steps is not None:
            max_steps += previous.tracker.state.step
        config = dataclasses.replace(config, epochs=num_epochs, max_steps=max_steps)
    if resume is not None:
        content = read_checkpoint(resume)
        config = fill_from_run(config, saved_config(content, resume))
    objective = choose_objective(config, model, setup.objective)
    config = run_config(config, model, objective, train, metrics)
    check_monitored_data(config, val)
    if config.checkpoints is not None and resume is None and previous is None:
        check_folder(config.checkpoints)
    check_same_classes({"model": model, "train": train, "val": val})
    check_validation_data(objective, train, val)
    _check_num_examples(objective, train)
    stepper = build_stepper(setup, config, objective, train_batches(config, train))
    network = stepper.model
    tracker = Tracker(
        config,
        objective,
        device=device,
        model_task=task_of_model(model),
        metrics=metrics.names,
    )
    if setup.is_sharded:
        accept_whole_state(stepper.optimizer)
    weights = WeightSwapper(
        network,
        config.averaging,
        reestimate=lambda: stepper.reestimate_batch_norm(tracker.current_epoch),
    )
    best = BestWeights() if config.restore_best else None
    stream = RandomStream(config.seed, device, rank=setup.ranks.rank)
    train_again = _train_to_evaluate(config, train, stepper.train)
    val_batches = None if val is None else eval_batches("val", val, config)
    checkpointer = Checkpointer(
        config,
        model=model,
        stepper=stepper,
        tracker=tracker,
        weights=weights,
        best=best,
        stream=stream,
        val=val_batches,
        callbacks=setup.callbacks,
        ranks=setup.ranks,
    )
    checkpointer.check_same_on_ranks()
    tracker.start_with(train)
    if resume is not None and content is not None:
        checkpointer.restore(resume, content)
    if init_from is not None and content is not None:
        optimizer = stepper.optimizer if start.init_optimizer else None
        load_initial_state(init_from, content, network, optimizer)
    if previous is not None:
        checkpointer.continue_from(previous.checkpointer)
        if tracker.is_out_of_patience:
            tracker.state.num_bad_epochs = 0
    setup.ranks.do_on_first(lambda: _prepare(config, checkpointer, start))
    reset_calibration(model)
    if setup.is_sharded:
        reset_calibration(network)
        copy_whole(network, model)  # the state that the run starts from
    inputs = known_inputs(train)
    if inputs is not None:
        check_input_range(model, inputs)
    return Run(
        config=config,
        stepper=stepper,
        tracker=tracker,
        weights=weights,
        best=best,
        checkpointer=checkpointer,
        stream=stream,
        ranks=setup.ranks,
        train=train_again,
        val=val_batches,
        num_epochs=config.epochs if previous is None else previous.num_epochs,
        seconds_before=0.0 if previous is None else tracker.state.seconds,
    )


def build_stepper(
    setup: RunSetup, config: FilledConfig, objective: Objective, train: BatchSource
) -> Stepper:
    """Build what makes the steps of a run, with shards on a copy of the model."""
    network = setup.model
    if setup.is_sharded:
        check_can_be_sharded(network)
        network = sharded_copy(network, setup.device, setup.ranks)
    stepper = Stepper(
        network,
        config,
        objective,
        _build_optimizer(setup, network, config),
        train=train,
        device=setup.device,
        ranks=setup.ranks,
    )
    _check_batch_size(config, setup.ranks)
    return stepper


def _build_optimizer(setup: RunSetup, model: nn.Module, config: FilledConfig) -> Optimizer:
    """Build the optimizer of the configuration, or that of the factory."""
    if setup.optimizer is None:
        return build_optimizer(model, config.optimizer)
    optimizer = setup.optimizer(p for p in model.parameters() if p.requires_grad)
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            error_message("optimizer", "a function that returns an Optimizer", optimizer)
        )
    check_steps_without_closure(optimizer)
    set_initial_lr(optimizer)
    return optimizer


def train_batches(config: FilledConfig, train: TrainingData) -> BatchSource:
    """Return the batches to train on, in epochs of the length that the settings say."""
    batches = as_batches(
        "train",
        train,
        batch_size=config.batch_size,
        shuffle=True,
        seed=config.seed,
        drop_last=config.drop_last,
    )
    steps = config.steps_per_epoch
    return training_batches(batches, steps and steps * config.gradient_accumulation_steps)


def eval_batches(argument: str, data: TrainingData, config: TrainerConfig) -> BatchSource:
    """Return examples in order, in the batches of an evaluation."""
    size = config.eval_batch_size
    return as_batches(argument, data, batch_size=size, shuffle=False, seed=config.seed)


def _train_to_evaluate(
    config: FilledConfig, train: TrainingData, batches: BatchSource
) -> BatchSource | None:
    """Return the training examples without augmentation; None without ``train_metrics``."""
    if not config.train_metrics:
        return None
    if not can_be_read_again(batches):
        rule, cure = "False for a stream", "give a part of its examples as val"
        raise ValueError(error_message("train_metrics", rule, config.train_metrics, cure))
    return eval_batches("train", getattr(train, "data", train), config)


def _check_start(
    resume: object, init_from: object, *, warm_start: bool, init_optimizer: bool
) -> None:
    """Raise if the arguments of ``fit`` that say where a run starts exclude one another."""
    for name, value in (("warm_start", warm_start), ("init_optimizer", init_optimizer)):
        check_bool(name, value)
    is_either = resume == "auto" and init_from is not None  # the second only for a new run
    given = {
        "resume": None if resume is None or is_either else str(resume),
        "warm_start": warm_start or None,
        "init_from": None if init_from is None else str(init_from),
    }
    chosen = [name for name, value in given.items() if value is not None]
    if len(chosen) > 1:
        rule, cure = f"None or False together with {chosen[0]}", "give one of the two"
        raise ValueError(error_message(chosen[1], rule, given[chosen[1]], cure))
    if init_optimizer and init_from is None:
        cure = "give the checkpoint as init_from"
        raise ValueError(
            error_message("init_optimizer", "False without init_from", init_optimizer, cure)
        )


def _resume_path(config: TrainerConfig, resume: str | os.PathLike[str] | None) -> Path | None:
    if resume != "auto":
        return None if resume is None else Path(resume)
    if config.checkpoints is None:
        rule = "a path if the configuration has no checkpoints"
        raise ValueError(error_message("resume", rule, resume, "set checkpoints in the config"))
    # The best checkpoint is written first, so a process killed in between leaves only that one.
    found = (config.checkpoints.last, config.checkpoints.best)
    return next((path for path in found if path.exists()), None)


def _prepare(config: FilledConfig, checkpointer: Checkpointer, start: RunStart) -> None:
    """Prepare the folder of the checkpoints, if there is one."""
    if config.checkpoints is not None and start.previous is not None:
        prepare_folder(config.checkpoints)
    elif config.checkpoints is not None:
        _claim_folder(config.checkpoints, checkpointer, start.resume)


def _claim_folder(
    config: CheckpointConfig, checkpointer: Checkpointer, resume: Path | None
) -> None:
    """Prepare the folder for the run; checkpoints of another run stay until they are replaced.

    Raises:
        ValueError: If it holds another run than the resumed one, without ``overwrite``.
    """
    others = [path for path in existing_checkpoints(config) if path != resume]
    if resume is not None:
        is_own = resume.resolve().parent == config.folder.resolve()
        others = [] if is_own else [one for one in others if not checkpointer.belongs_to_run(one)]
        if others and not config.overwrite:
            rule = "a folder without checkpoints of another run than the resumed one"
            cure = "choose another folder, or set overwrite=True"
            raise ValueError(error_message("checkpoints.folder", rule, str(others[0]), cure))
    prepare_folder(config)
    checkpointer.replace_on_save(others)


def _check_batch_size(config: FilledConfig, ranks: Ranks) -> None:
    """Refuse batches that cannot be divided among the processes."""
    if config.batch_size < ranks.size:
        rule = f"at least the number of processes, {ranks.size}"
        cure = "each batch is divided among them"
        raise ValueError(error_message("batch_size", rule, config.batch_size, cure))


def _check_num_examples(objective: Objective, train: TrainingData) -> None:
    """Let an objective that stores something for each example check their number."""
    check: object = getattr(objective, "check_num_examples", None)
    examples: object = getattr(train, "data", train)
    if callable(check) and isinstance(examples, Sized) and not isinstance(train, DataLoader):
        check(len(examples))
