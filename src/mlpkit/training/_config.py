"""Settings of a training run: frozen dataclasses that check their values."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import torch

from mlpkit import _serialization
from mlpkit._checks import (
    Check,
    check_bool,
    check_choice,
    check_float,
    check_int,
    check_tuple,
    error_message,
    or_none,
    plain_scalar,
    store_checked,
)
from mlpkit._devices import Precision, find_device
from mlpkit._serialization import JSONValue
from mlpkit.training._monitor import Monitor, check_monitor
from mlpkit.training.optim import (
    OPTIMIZERS,
    AveragingConfig,
    MomentumSchedule,
    OptimizerConfig,
    ReduceLROnPlateau,
    Schedule,
)

__all__ = [
    "CheckpointConfig",
    "ClassWeights",
    "EarlyStopping",
    "FilledConfig",
    "Gradients",
    "TrainerConfig",
]

Gradients: TypeAlias = Literal["auto", "autograd"]
ClassWeights: TypeAlias = tuple[float, ...] | Mapping[str, float] | Literal["balanced"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointConfig:
    """Where and how often a run is saved.

    The folder contains ``last.pt``, from which the run can be resumed, and ``best.pt``, the
    checkpoint of the epoch with the best monitored metric. Each file is replaced atomically: the
    path always holds a complete checkpoint.

    Args:
        folder: Folder of the checkpoints; it is created if it does not exist.
        every_epochs: Number of epochs between two saves; None saves only after the last epoch.
        every_steps: Number of optimizer steps between two additional saves; None makes no
            additional ones.
        keep_best: Keep ``best.pt`` besides ``last.pt``. It is written when the monitored metric
            improves, so a metric of the validation data requires validation data.
        overwrite: Allow a new run to replace the checkpoints of an earlier run. By default this
            raises, so that a forgotten ``resume`` does not delete a run.

    Raises:
        ValueError: If a number is out of range.
    """

    folder: Path
    every_epochs: int | None = 1
    every_steps: int | None = None
    keep_best: bool = True
    overwrite: bool = False

    if TYPE_CHECKING:  # the constructor also accepts a str; the attribute is always a Path

        def __init__(
            self,
            *,
            folder: str | Path,
            every_epochs: int | None = 1,
            every_steps: int | None = None,
            keep_best: bool = True,
            overwrite: bool = False,
        ) -> None: ...

    def __post_init__(self) -> None:
        checks: dict[str, Check[object]] = {
            "folder": _path,
            "every_epochs": or_none(_positive_int),
            "every_steps": or_none(_positive_int),
            "keep_best": check_bool,
            "overwrite": check_bool,
        }
        store_checked(self, checks, prefix="checkpoints.")

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.folder / "last.pt"

    @property
    def best(self) -> Path:
        """The checkpoint of the best epoch."""
        return self.folder / "best.pt"


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyStopping:
    """Stop when the monitored metric no longer improves.

    Args:
        patience: Number of validations without an improvement after which training stops.
        min_delta: Minimum change of the monitored metric that counts as an improvement, at
            least 0.

    Raises:
        ValueError: If a number is out of range.
    """

    patience: int = 10
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        checks: dict[str, Check[object]] = {
            "patience": _positive_int,
            "min_delta": partial(check_float, minimum=0.0),
        }
        store_checked(self, checks, prefix="early_stopping.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerConfig:
    """Settings of a training run.

    Where None means the default of the task, the value depends on the training data and is chosen
    when the run begins: :attr:`Trainer.config` then has it, and every checkpoint too.

    Args:
        epochs: Number of epochs: of passes over the training examples, unless ``steps_per_epoch``
            is given. None means as many as make 1,000 steps, but at least 10 and at most 200; for a
            regression 300 steps and at most 50; with ``max_steps`` as many as make these steps.
        steps_per_epoch: Number of optimizer steps in an epoch, for a stream or for shorter or
            longer epochs. Each epoch then begins where the previous one ended, and a new pass over
            the data begins when one ends, so an epoch can be a part of a pass or several passes.
            Each step has ``gradient_accumulation_steps`` batches. None means one pass; for data
            without a length ``max_steps``.
        max_steps: End the run after this number of optimizer steps, if ``epochs`` do not end it
            earlier; the last epoch may then be shorter. Schedules end there too. None means no
            limit.
        batch_size: Number of examples per batch; ignored for data that is already batched. None
            means at most 128, for fewer than 10,000 examples 64; without ``drop_last`` the size is
            chosen so that the last batch is at least half as large as the others.
        drop_last: Drop the last batch of an epoch if it has fewer examples. Must be False for data
            that is already batched.
        eval_batch_size: Number of examples per batch in evaluation and prediction.
        gradient_accumulation_steps: Number of batches whose gradients are accumulated into one
            optimizer step; the last step of a pass may have fewer. The loss of a step is one mean
            over all its examples.
        optimizer: The optimizer and its settings. None means AdamW with weight decay 0.01 and a
            learning rate of 0.003, or 0.001 with a constant schedule. With lbfgs a batch has all
            examples.
        schedule: Learning rate schedule, evaluated at every step. None means one-cycle, or, if
            ``early_stopping`` or ``max_seconds`` may end the run at any step or
            ``reduce_lr_on_plateau`` is set, a constant rate after a warmup of at most 100 steps;
            for lbfgs a constant rate.
        reduce_lr_on_plateau: When to reduce the learning rate because the monitored metric no
            longer improves; None never reduces it.
        momentum_schedule: Momentum schedule; None keeps the momentum of the optimizer.
        label_smoothing: Fraction of every target that is spread over all classes, in [0, 1]. None
            means 0.05 for the default cross-entropy without mixup. With another objective it must
            be None, and the smoothing of the objective is recorded.
        mixup: Parameter of the Beta distribution of :class:`Mixup`, above 0; None disables mixup.
        class_weights: One factor per class on the weight of its examples, as a sequence, array or
            tensor, or as a mapping from every class name to its factor. ``"balanced"`` gives class
            :math:`c` the factor :math:`N / (C n_c)`, with :math:`n_c` of the :math:`N` training
            examples in class :math:`c` of :math:`C`, as in scikit-learn; if the examples have
            weights, both are sums of weights. None means equal weights.
        clip_grad_norm: Maximum Euclidean norm of the gradient; a larger gradient is scaled down.
            None never clips.
        averaging: Average of the weights over the steps. Validation uses it, and the model holds
            it when ``fit`` returns. None keeps no average.
        precision: ``"fp32"``, or ``"bf16"`` or ``"fp16"`` to run the forward pass under autocast.
            fp16 uses loss scaling; a step whose scaled gradient overflows is counted, but not
            applied. Whether reduced precision is faster depends on the hardware: on a CPU without
            instructions for bf16 products, such as AMX, bf16 is slower than fp32, and ``fit``
            warns. ``mlpkit info`` measures the speed of each precision.
        gradients: ``"autograd"`` computes every gradient with autograd; ``"auto"`` uses
            hand-written gradients, equal up to rounding, for models that have them.
        device: A torch device or its name, or ``"auto"`` for the accelerator, or the CPU if there
            is none.
        seed: Seed of the order of the examples and of the private random stream of the run.
        cuda_graph: Capture the step in a CUDA graph and replay it: gathering, augmentation,
            forward and backward pass, non-finite check and update become one launch. The learning
            rate is then a float32 tensor, so the last bits differ. A custom model, objective or
            augmentation must not synchronize with the device, copy to it or set the state of a
            generator. Changes that a callback makes to the model or the optimizer after the first
            steps have no effect, except to base learning rates. Not supported with fp16, mixup,
            lbfgs, muon, rmsprop, momentum schedules or ``gradient_accumulation_steps`` above 1.
        deterministic: Use torch's deterministic algorithms during the run. On a CPU a run is
            reproducible bit for bit without this setting.
        sharding: With several processes, divide parameters, gradients and the state of the
            optimizer among them with :func:`torch.distributed.fsdp.fully_shard`, for a network that
            does not fit one device. The parameters of a layer are gathered when it computes. During
            the run ``trainer.model`` is on the CPU, has the weights of the end of the latest epoch,
            and changes to it have no effect; after it, the final ones. Checkpoints are those of a
            run without the setting, which may change on resume. Gradients come from autograd. Not
            supported with fp16, lbfgs, muon, fused SGD, ``cuda_graph``, max-norm constraints or
            shared parameters. With one process the setting has no effect.
        sync_batch_norm: With several processes, batch norm in training uses the mean and the
            variance of the examples of all of them, as one process does. By default each process
            uses those of its part of the batch, and the running statistics are those of the first
            process. With one process the setting has no effect.
        validate_every: Number of epochs between two validations; the last epoch is always
            validated.
        train_metrics: Evaluate the training examples too, whenever the validation is due, in
            evaluation mode and without augmentation: the history then has ``train_accuracy``, or
            ``train_rmse`` for a regression. This takes one more pass over the data, which must not
            be a stream.
        monitor: Column of the history that decides which epoch is best, for the best checkpoint,
            the best weights, early stopping and ``reduce_lr_on_plateau``: its name, or a
            :class:`Monitor` with the direction, which a custom metric without ``higher_is_better``
            needs.
        restore_best: Give the model the weights of the best epoch when ``fit`` returns: those that
            were validated, averaged if an average is kept. They are kept in memory, on the device
            of the model, and in every checkpoint; while an epoch is validated there are two copies.
            If the metric is one of the validation, ``fit`` requires validation data.
        early_stopping: When to stop before the last epoch; None trains all epochs.
        checkpoints: Where and how often to save; None saves nothing.
        max_seconds: Stop after the first step at which the run has lasted this long, in seconds;
            None means no limit.
        sync_every: On an accelerator, the number of steps between two reads of the non-finite
            check, which synchronize with the device; on a CPU every step is checked.
        progress: How ``fit`` shows its progress. None means automatic: in a notebook a bar and a
            table with one row per epoch, in a terminal a bar, else nothing. True shows the bar also
            where the standard error stream is no terminal. ``"lines"`` writes one line per epoch to
            that stream, for a log: number, losses, validation metrics, seconds. False is silent.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is out of range.

    Example:
        >>> from mlpkit.training import OptimizerConfig, Schedule, TrainerConfig
        >>> config = TrainerConfig(
        ...     epochs=3,
        ...     optimizer=OptimizerConfig(name="sgd", lr=0.1, nesterov=True),
        ...     schedule=Schedule(kind="one_cycle"),
        ... )
        >>> TrainerConfig.from_json(config.to_json()) == config
        True
    """

    epochs: int | None = None
    steps_per_epoch: int | None = None
    max_steps: int | None = None
    batch_size: int | None = None
    drop_last: bool = False
    eval_batch_size: int = 4096
    gradient_accumulation_steps: int = 1
    optimizer: OptimizerConfig | None = None
    schedule: Schedule | None = None
    reduce_lr_on_plateau: ReduceLROnPlateau | None = None
    momentum_schedule: MomentumSchedule | None = None
    label_smoothing: float | None = None
    mixup: float | None = None
    class_weights: ClassWeights | None = None
    clip_grad_norm: float | None = None
    averaging: AveragingConfig | None = None
    precision: Precision = "fp32"
    gradients: Gradients = "auto"
    device: str = "auto"
    seed: int = 0
    cuda_graph: bool = False
    deterministic: bool = False
    sharding: bool = False
    sync_batch_norm: bool = False
    validate_every: int = 1
    train_metrics: bool = False
    monitor: str | Monitor = "val_loss"
    restore_best: bool = False
    early_stopping: EarlyStopping | None = None
    checkpoints: CheckpointConfig | None = None
    max_seconds: float | None = None
    sync_every: int = 50
    progress: bool | Literal["lines"] | None = None

    def __post_init__(self) -> None:
        checks: dict[str, Check[object]] = {
            "epochs": or_none(_positive_int),
            "steps_per_epoch": or_none(_positive_int),
            "max_steps": or_none(_positive_int),
            "batch_size": or_none(_positive_int),
            "drop_last": check_bool,
            "eval_batch_size": _positive_int,
            "gradient_accumulation_steps": _positive_int,
            "optimizer": _instance_of(OptimizerConfig, type(None)),
            "schedule": _instance_of(Schedule, type(None)),
            "reduce_lr_on_plateau": _instance_of(ReduceLROnPlateau, type(None)),
            "momentum_schedule": _instance_of(MomentumSchedule, type(None)),
            "label_smoothing": or_none(partial(check_float, minimum=0.0, maximum=1.0)),
            "mixup": or_none(partial(check_float, above=0.0)),
            "class_weights": or_none(_class_weights),
            "clip_grad_norm": or_none(partial(check_float, above=0.0)),
            "averaging": _instance_of(AveragingConfig, type(None)),
            "precision": partial(check_choice, names=get_args(Precision)),
            "gradients": partial(check_choice, names=get_args(Gradients)),
            "device": _device_name,
            "seed": _seed,
            "cuda_graph": check_bool,
            "deterministic": check_bool,
            "sharding": check_bool,
            "sync_batch_norm": check_bool,
            "validate_every": _positive_int,
            "train_metrics": check_bool,
            "monitor": check_monitor,
            "restore_best": check_bool,
            "early_stopping": _instance_of(EarlyStopping, type(None)),
            "checkpoints": _instance_of(CheckpointConfig, type(None)),
            "max_seconds": or_none(partial(check_float, above=0.0)),
            "sync_every": _positive_int,
            "progress": or_none(_progress),
        }
        store_checked(self, checks)
        if self.cuda_graph:
            self._check_can_be_captured()
        if self.sharding:
            self._check_can_be_sharded()
        if self.optimizer is not None and self.optimizer.name == "lbfgs":
            self._check_full_batch()

    def _check_can_be_captured(self) -> None:
        """Raise if a setting requires that the host decides in each step what the device does."""
        optimizer = OptimizerConfig() if self.optimizer is None else self.optimizer
        accumulation = self.gradient_accumulation_steps
        _check_supported(
            ("precision", self.precision, self.precision != "fp16", "'fp32' or 'bf16'"),
            ("mixup", self.mixup, self.mixup is None, "None"),
            ("gradient_accumulation_steps", accumulation, accumulation == 1, "1"),
            ("momentum_schedule", self.momentum_schedule, self.momentum_schedule is None, "None"),
            _optimizer_row(optimizer, "cuda_graph"),
            ("optimizer.fused", optimizer.fused, optimizer.fused, "True"),
            purpose="cuda_graph",
            cure="or set cuda_graph=False",
        )

    def _check_can_be_sharded(self) -> None:
        """Raise if a setting needs whole parameters or gradients in every process."""
        optimizer = OptimizerConfig() if self.optimizer is None else self.optimizer
        has_kernel = optimizer.name != "sgd" or not optimizer.fused  # of torch, for its shards
        _check_supported(
            ("precision", self.precision, self.precision != "fp16", "'fp32' or 'bf16'"),
            ("cuda_graph", self.cuda_graph, not self.cuda_graph, "False"),
            _optimizer_row(optimizer, "sharding"),
            ("optimizer.fused", optimizer.fused, has_kernel, "False with optimizer 'sgd'"),
            purpose="sharding",
            cure="or set sharding=False",
        )

    def _check_full_batch(self) -> None:
        """Raise if a setting does not fit an optimizer that evaluates a step several times."""
        _check_supported(
            ("precision", self.precision, self.precision != "fp16", "'fp32' or 'bf16'"),
            ("clip_grad_norm", self.clip_grad_norm, self.clip_grad_norm is None, "None"),
            ("momentum_schedule", self.momentum_schedule, self.momentum_schedule is None, "None"),
            ("steps_per_epoch", self.steps_per_epoch, self.steps_per_epoch is None, "None"),
            ("drop_last", self.drop_last, not self.drop_last, "False"),
            purpose="optimizer 'lbfgs'",
            cure="or choose another optimizer",
        )

    def to_json(self) -> str:
        """Return the configuration as JSON."""
        return _serialization.to_json(self)

    @classmethod
    def from_json(cls, text: str) -> TrainerConfig:
        """Build a configuration from JSON; an unknown key raises ConfigError."""
        return _serialization.from_json(cls, text)

    def to_toml(self) -> str:
        """Return the configuration as TOML, without the settings that are None."""
        return _serialization.to_toml(self)

    @classmethod
    def from_toml(cls, text: str) -> TrainerConfig:
        """Build a configuration from TOML; an unknown key raises ConfigError."""
        return _serialization.from_toml(cls, text)

    def to_dict(self) -> dict[str, JSONValue]:
        """Return the configuration in plain values, as a checkpoint stores it."""
        return _serialization.to_dict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilledConfig(TrainerConfig):
    """Settings in which every default of the task has its value; see ``fill_defaults``."""

    epochs: int
    batch_size: int
    optimizer: OptimizerConfig
    schedule: Schedule
    label_smoothing: float
    class_weights: tuple[float, ...] | None = None


def _optimizer_row(optimizer: OptimizerConfig, purpose: str) -> tuple[str, str, bool, str]:
    """Return the row of ``_check_supported`` for an optimizer."""
    *names, last = [name for name, kind in OPTIMIZERS.items() if purpose in kind.supports]
    rule = f"{', '.join(map(repr, names))} or {last!r}"
    return "optimizer.name", optimizer.name, optimizer.name in (*names, last), rule


def _check_supported(*rows: tuple[str, object, bool, str], purpose: str, cure: str) -> None:
    """Raise for the first setting that is not supported.

    Args:
        rows: Name of a setting, its value, whether it is supported, and what it must be.
        purpose: What does not support the other values.
        cure: What to do instead.
    """
    for name, value, is_supported, rule in rows:
        if not is_supported:
            raise ValueError(error_message(name, f"{rule} for {purpose}", value, cure))


_positive_int = partial(check_int, minimum=1)
_LARGEST_SEED = 2**64 - 1  # that torch's generators take


def _seed(argument: str, value: object) -> int:
    seed = check_int(argument, value, minimum=0)
    if seed > _LARGEST_SEED:
        raise ValueError(error_message(argument, "below 2**64", seed))
    return seed


def _path(argument: str, value: object) -> Path:
    if not isinstance(value, str | os.PathLike):
        raise TypeError(error_message(argument, "a path", value))
    return Path(value)


def _progress(argument: str, value: object) -> bool | Literal["lines"]:
    if isinstance(value, str) and value == "lines":
        return "lines"
    if not isinstance(plain_scalar(value), bool):
        raise TypeError(error_message(argument, "True, False, None or 'lines'", value))
    return check_bool(argument, value)


def _device_name(argument: str, value: object) -> str:
    """Return the name of a torch device; a number is refused, since its type is not known."""
    name = str(value) if isinstance(value, str | torch.device) else None
    if name is None:
        rule = '"auto", a torch.device or its name, such as "cpu" or "cuda:0"'
        raise TypeError(error_message(argument, rule, value))
    find_device(name)
    return name


class _NamedWeights(Mapping[str, float]):
    """An immutable mapping that can be hashed and is equal to a dict of the same items."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._weights = dict(weights)

    def __getitem__(self, name: str) -> float:
        return self._weights[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)

    def __hash__(self) -> int:
        return hash(frozenset(self._weights.items()))

    def __repr__(self) -> str:
        return repr(self._weights)


def _class_weights(argument: str, value: object) -> ClassWeights:
    """Return ``"balanced"``, a tuple of numbers, or a mapping from class names to numbers."""
    rule = "'balanced', or one number per class, at least one above 0"
    if isinstance(value, str):
        if value != "balanced":
            raise ValueError(error_message(argument, rule, value))
        return "balanced"
    check = partial(check_float, minimum=0.0)
    if isinstance(value, Mapping):
        by_name = {}
        for name, weight in value.items():
            if not isinstance(name, str):
                rule = "a mapping from class names to numbers"
                raise TypeError(error_message(argument, rule, value, "use strings as keys"))
            by_name[str(name)] = check(f"{argument}[{name!r}]", weight)
        if not any(by_name.values()):
            raise ValueError(error_message(argument, rule, by_name))
        return _NamedWeights(by_name)
    weights = check_tuple(argument, value, check, rule=rule)
    if not any(weights):
        raise ValueError(error_message(argument, rule, weights))
    return weights


def _instance_of(*kinds: type) -> Check[object]:
    """Return a check that accepts instances of the classes."""

    def checked(argument: str, value: object) -> object:
        if not isinstance(value, kinds):
            names = " or ".join("None" if kind is type(None) else kind.__name__ for kind in kinds)
            raise TypeError(error_message(argument, names, value))
        return value

    return checked
