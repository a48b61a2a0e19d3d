"""What a training is told: one frozen configuration, checked where it is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from mlpkit import _serialization
from mlpkit._checks import check_bool, check_choice, check_float, check_int, error_message
from mlpkit._devices import Precision, find_device
from mlpkit._serialization import JSONValue
from mlpkit.training.optim import AveragingConfig, MomentumSchedule, OptimizerConfig, Schedule

__all__ = [
    "MONITOR_DIRECTIONS",
    "CheckpointConfig",
    "EarlyStopping",
    "Gradients",
    "Monitor",
    "TrainerConfig",
]

Monitor: TypeAlias = Literal["train_loss", "val_accuracy", "val_error", "val_loss"]

#: Whether each monitored metric is to be minimized or maximized.
MONITOR_DIRECTIONS: dict[Monitor, Literal["min", "max"]] = {
    "train_loss": "min",
    "val_accuracy": "max",
    "val_error": "min",
    "val_loss": "min",
}


Gradients: TypeAlias = Literal["auto", "autograd"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointConfig:
    """Where and how often a training is saved.

    The folder gets ``last.pt``, from which the training can be resumed, and ``best.pt``, the same
    for the epoch with the best monitored value. Each is replaced in one step: whatever happens,
    a whole file is there.

    Args:
        folder: Where the checkpoints go; it is made where there is none.
        every_epochs: Save after each so many epochs; None saves at no end of an epoch but the last.
        every_steps: Save after each so many optimizer steps too; None does not.
        keep_best: Keep ``best.pt`` beside ``last.pt``; without validation data there is none.
        overwrite: Let a new training replace the checkpoints of a former one; by default it is
            refused, so that a forgotten ``resume`` costs nothing.

    Raises:
        ValueError: If a number is out of range.
    """

    folder: Path
    every_epochs: int | None = 1
    every_steps: int | None = None
    keep_best: bool = True
    overwrite: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))  # a string from JSON or TOML
        if self.every_epochs is not None:
            check_int("checkpoints.every_epochs", self.every_epochs, minimum=1)
        if self.every_steps is not None:
            check_int("checkpoints.every_steps", self.every_steps, minimum=1)
        check_bool("checkpoints.keep_best", self.keep_best)
        check_bool("checkpoints.overwrite", self.overwrite)

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
    """When to stop because nothing gets better.

    Args:
        patience: Number of validations without an improvement after which training stops.
        min_delta: By how much a value must be better than the best to count, at least 0.

    Raises:
        ValueError: If a number is out of range.
    """

    patience: int = 10
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        check_int("early_stopping.patience", self.patience, minimum=1)
        check_float("early_stopping.min_delta", self.min_delta, minimum=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerConfig:
    """The settings of a training.

    Args:
        epochs: Number of passes over the training examples.
        batch_size: Examples in a batch, where the data does not come in batches already.
        eval_batch_size: Examples in a batch of evaluation and prediction.
        gradient_accumulation_steps: Number of batches whose gradients are accumulated into one
            optimizer step; the last step of an epoch may have fewer. The loss is one mean over all
            their examples.
        optimizer: The optimizer and its settings.
        schedule: The learning rate over the steps.
        momentum_schedule: The momentum over the steps; None keeps the optimizer's.
        label_smoothing: Share of every target that is spread over all classes, in [0, 1].
        mixup: Parameter of the Beta distribution from which mixup draws, above 0; None mixes
            nothing. See :class:`Mixup`.
        class_weights: One factor for each class on the weight of its examples; None weighs all
            the same.
        clip_grad_norm: Largest Euclidean norm of the gradient; a longer gradient is scaled down.
            None never clips.
        averaging: Which average of the weights to keep beside them; validation uses it, and the
            model has it when ``fit`` returns. None keeps none.
        precision: ``"fp32"``, or the forward pass under autocast in ``"bf16"`` or ``"fp16"``
            (with loss scaling; a step whose scaled gradient overflows is counted, not applied).
        gradients: ``"autograd"`` computes every gradient with autograd; ``"auto"`` uses
            hand-written gradients, equal up to rounding, for models that have them.
        device: ``"auto"`` takes an accelerator where there is one; else a name as torch knows it.
        seed: Where the order of the examples and the training's own random stream start.
        cuda_graph: Record the step on a CUDA device once and replay it: gathering, augmentation,
            passes, guard and update are then one launch. The learning rate is a float32 tensor
            then, so that the last bits differ. A model, objective or augmentation of your own must
            not wait for the device, copy to it or set the state of a generator; what a callback
            changes in the model or the optimizer after the first steps is not seen, base learning
            rates excepted. Not for fp16, mixup, muon, momentum schedules,
            ``gradient_accumulation_steps`` above 1.
        deterministic: Ask torch for deterministic algorithms during the training. On a CPU a
            training repeats bit for bit without it.
        validate_every: Number of epochs from one validation to the next; the last epoch has one.
        monitor: The figure that says which epoch is best, for the best checkpoint and for early
            stopping.
        early_stopping: When to stop because nothing gets better; None trains all epochs.
        checkpoints: Where and how often to save; None saves nothing.
        max_seconds: Stop after the step in which the training has run so long; None has no limit.
        sync_every: On an accelerator, the number of steps from one look at the NaN guard to the
            next; on a CPU every step is looked at.
        progress: Show a progress bar; None shows one on a terminal only.

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

    epochs: int = 10
    batch_size: int = 128
    eval_batch_size: int = 4096
    gradient_accumulation_steps: int = 1
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: Schedule = field(default_factory=Schedule)
    momentum_schedule: MomentumSchedule | None = None
    label_smoothing: float = 0.0
    mixup: float | None = None
    class_weights: tuple[float, ...] | None = None
    clip_grad_norm: float | None = None
    averaging: AveragingConfig | None = None
    precision: Precision = "fp32"
    gradients: Gradients = "auto"
    device: str = "auto"
    seed: int = 0
    cuda_graph: bool = False
    deterministic: bool = False
    validate_every: int = 1
    monitor: Monitor = "val_loss"
    early_stopping: EarlyStopping | None = None
    checkpoints: CheckpointConfig | None = None
    max_seconds: float | None = None
    sync_every: int = 50
    progress: bool | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "eval_batch_size", "gradient_accumulation_steps"):
            check_int(name, getattr(self, name), minimum=1)
        for name in ("validate_every", "sync_every"):
            check_int(name, getattr(self, name), minimum=1)
        check_int("seed", self.seed, minimum=0)
        for name, kind in _NESTED.items():
            _instance(name, getattr(self, name), kind)
        check_float("label_smoothing", self.label_smoothing, minimum=0.0, maximum=1.0)
        if self.mixup is not None:
            check_float("mixup", self.mixup, above=0.0)
        if self.class_weights is not None:
            if not any(self.class_weights):
                rule = "one number for each class, at least one above 0"
                raise ValueError(error_message("class_weights", rule, self.class_weights))
            for index, weight in enumerate(self.class_weights):
                check_float(f"class_weights[{index}]", weight, minimum=0.0)
        if self.clip_grad_norm is not None:
            check_float("clip_grad_norm", self.clip_grad_norm, above=0.0)
        if self.max_seconds is not None:
            check_float("max_seconds", self.max_seconds, above=0.0)
        check_choice("precision", self.precision, get_args(Precision))
        check_choice("gradients", self.gradients, get_args(Gradients))
        check_choice("monitor", self.monitor, get_args(Monitor))
        check_bool("deterministic", self.deterministic)
        check_bool("cuda_graph", self.cuda_graph)
        if self.cuda_graph:
            self._check_can_be_recorded()
        if self.progress is not None:
            check_bool("progress", self.progress)
        find_device(self.device)

    def _check_can_be_recorded(self) -> None:
        """Refuse what decides on the host, in each step, what the device has to do."""
        for name, value, recordable, rule in (
            ("precision", self.precision, self.precision != "fp16", "'fp32' or 'bf16'"),
            ("mixup", self.mixup, self.mixup is None, "None"),
            (
                "gradient_accumulation_steps",
                self.gradient_accumulation_steps,
                self.gradient_accumulation_steps == 1,
                "1",
            ),
            ("momentum_schedule", self.momentum_schedule, self.momentum_schedule is None, "None"),
            (
                "optimizer.name",
                self.optimizer.name,
                self.optimizer.name != "muon",
                "'adamw' or 'sgd'",
            ),
            ("optimizer.fused", self.optimizer.fused, self.optimizer.fused, "True"),
        ):
            if not recordable:
                cure = "or set cuda_graph=False"
                raise ValueError(error_message(name, f"{rule} for cuda_graph", value, cure))

    def to_json(self) -> str:
        """Return the configuration as JSON."""
        return _serialization.to_json(self)

    @classmethod
    def from_json(cls, text: str) -> TrainerConfig:
        """Build a configuration from JSON; an unknown key is refused by name."""
        return _serialization.from_json(cls, text)

    def to_toml(self) -> str:
        """Return the configuration as TOML, leaving out what is None."""
        return _serialization.to_toml(self)

    @classmethod
    def from_toml(cls, text: str) -> TrainerConfig:
        """Build a configuration from TOML; an unknown key is refused by name."""
        return _serialization.from_toml(cls, text)

    def to_dict(self) -> dict[str, JSONValue]:
        """Return the configuration as plain values, as they stand in a checkpoint."""
        return _serialization.to_dict(self)


_NESTED: dict[str, tuple[type, ...]] = {
    "optimizer": (OptimizerConfig,),
    "schedule": (Schedule,),
    "momentum_schedule": (MomentumSchedule, type(None)),
    "class_weights": (tuple, type(None)),
    "averaging": (AveragingConfig, type(None)),
    "early_stopping": (EarlyStopping, type(None)),
    "checkpoints": (CheckpointConfig, type(None)),
}


def _instance(name: str, value: object, kinds: tuple[type, ...]) -> None:
    if not isinstance(value, kinds):
        names = " or ".join("None" if kind is type(None) else kind.__name__ for kind in kinds)
        raise TypeError(error_message(name, names, value))
