"""The options of the network and of the run: all fields of MLPConfig and TrainerConfig.

Each class below has the fields of its parent. It tells tyro how to parse the fields that are
nested configurations, and hides the fields that the command fills in. A field is an option if
``OPTION_TEXTS`` describes it and ``GROUPS`` has a place for it, or it is one of ``HIDDEN_OPTIONS``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, get_args

import tyro

from mlpkit.cli._config_strings import (
    CLASS_WEIGHTS,
    MONITOR,
    PROGRESS,
    config_or_configs_spec,
    config_spec,
    optional_config_spec,
)
from mlpkit.data import FileSource, TargetTask
from mlpkit.nn import ActivationConfig, ActivationName, MLPConfig
from mlpkit.training import (
    AveragingConfig,
    CheckpointConfig,
    ClassWeights,
    EarlyStopping,
    MomentumSchedule,
    Monitor,
    OptimizerConfig,
    OptimizerName,
    ReduceLROnPlateau,
    Schedule,
    ScheduleKind,
    TrainerConfig,
)

__all__ = [
    "GROUPS",
    "HIDDEN_NETWORK_OPTIONS",
    "HIDDEN_OPTIONS",
    "HIDDEN_TRAINING_OPTIONS",
    "OPTION_TEXTS",
    "DataOptions",
    "NetworkOptions",
    "OptionText",
    "TrainingOptions",
]

NamedActivation: TypeAlias = ActivationName | ActivationConfig

# Determined by the data set and by SoftmaxClassifier.
HIDDEN_NETWORK_OPTIONS = ("in_features", "out_features", "flatten", "output_activation")
# Determined by the folder of the run.
HIDDEN_TRAINING_OPTIONS = ("checkpoints",)
HIDDEN_OPTIONS = (*HIDDEN_NETWORK_OPTIONS, *HIDDEN_TRAINING_OPTIONS)

_NAMED = "NAME[:OPTION=VALUE,...]"


@dataclasses.dataclass(frozen=True, slots=True)
class OptionText:
    """How the help describes an option.

    Attributes:
        text: What it means, in one line of plain text.
        metavar: What stands for its value; None chooses it from the type.
        unset: What no value means, shown as the default; None shows no default.
    """

    text: str
    metavar: str | None = None
    unset: str | None = None


def _names(literal: object) -> str:
    return ", ".join(get_args(literal))


_SHORT = "NAME[:...]"  # NAME or NAME:OPTION=VALUE,..., as the last line of the help says

#: Of the fields of MLPConfig and TrainerConfig, whose docstrings are longer and for Python.
OPTION_TEXTS: Mapping[str, OptionText] = {
    "hidden_features": OptionText("Widths of the hidden layers"),
    "activation": OptionText("Such as gelu, or one per layer", _SHORT),
    "norm": OptionText("Normalization of hidden layers", unset="none"),
    "bias": OptionText("Leave out the biases of the hidden layers"),
    "residual": OptionText("Add the input of a hidden layer to its output"),
    "init": OptionText("auto: suited to the activation"),
    "epochs": OptionText("Passes over the examples"),
    "max_steps": OptionText("Stop after N optimizer steps", unset="no limit"),
    "steps_per_epoch": OptionText("Optimizer steps in an epoch", unset="one pass"),
    "batch_size": OptionText("Examples per batch"),
    "optimizer": OptionText(f"{_names(OptimizerName)}; or sgd:lr=0.1", _SHORT),
    "schedule": OptionText(_names(ScheduleKind), _SHORT),
    "momentum_schedule": OptionText("Such as linear:final=0.9", _SHORT, "constant"),
    "reduce_lr_on_plateau": OptionText("Factor at a plateau, such as 0.1", "FACTOR[:...]", "off"),
    "gradient_accumulation_steps": OptionText("Batches per optimizer step"),
    "clip_grad_norm": OptionText("Maximum norm of the gradient", unset="no limit"),
    "dropout": OptionText("Dropout of each hidden layer"),
    "input_dropout": OptionText("Dropout of the inputs"),
    "max_norm": OptionText("Maximum weight norm of a unit", unset="no limit"),
    "label_smoothing": OptionText("Smoothing of the targets"),
    "mixup": OptionText("Mix pairs of examples, such as 0.2", unset="off"),
    "averaging": OptionText("Average the weights, such as 0.999", "DECAY[:...]", "off"),
    "early_stopping": OptionText("Patience in validations, such as 10", "N[:...]", "off"),
    "restore_best": OptionText("Keep the weights of the best epoch"),
    "monitor": OptionText("Metric, such as val_accuracy", "NAME[:min|max]"),
    "class_weights": OptionText("balanced, one per class or CLASS=X", "WEIGHT...", "equal"),
    "drop_last": OptionText("Drop the last batch of an epoch if it is smaller"),
    "train_metrics": OptionText("Measure the metrics on the training examples too"),
    "eval_batch_size": OptionText("Examples per batch in evaluation"),
    "validate_every": OptionText("Epochs between two validations"),
    "precision": OptionText("Format of the forward pass"),
    "device": OptionText("auto, cpu, cuda or another of torch", "NAME"),
    "seed": OptionText("Seed of the weights and the training"),
    "gradients": OptionText("auto: hand-written where possible"),
    "cuda_graph": OptionText("Capture the step in a CUDA graph"),
    "deterministic": OptionText("Use deterministic algorithms of torch"),
    "sharding": OptionText("Divide the parameters among processes"),
    "sync_batch_norm": OptionText("Batch norm over all processes"),
    "max_seconds": OptionText("Stop after this time", "SECONDS", "no limit"),
    "sync_every": OptionText("Steps per check for NaN on a GPU"),
    "progress": OptionText("auto, bar, lines or off", "KIND", "auto"),
}

#: The options of `mlpkit train` in the order of its help, by field.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "Common options": (
        *("target", "hidden_features", "epochs", "batch_size", "optimizer", "early_stopping"),
        *("preset", "device", "seed", "runs", "resume", "config"),
    ),
    "Network": ("activation", "norm", "bias", "residual", "init", "pool"),
    "Optimization": (
        *("schedule", "reduce_lr_on_plateau", "momentum_schedule", "clip_grad_norm"),
        "gradient_accumulation_steps",
        *("max_steps", "steps_per_epoch", "drop_last", "class_weights"),
    ),
    "Regularization": (
        *("dropout", "input_dropout", "max_norm", "label_smoothing", "mixup", "averaging"),
    ),
    "Data": (
        *("task", "ignore", "image_size", "color", "val_fraction", "test_fraction", "split_seed"),
        *("root", "verify"),
    ),
    "Run": (
        *("monitor", "restore_best", "train_metrics", "validate_every", "eval_batch_size"),
        "max_seconds",
        *("progress", "precision", "gradients", "cuda_graph", "deterministic", "sync_every"),
        *("sharding", "sync_batch_norm"),
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DataOptions:
    """How a CSV file or a folder of images is read and split; the fields of FileSource."""

    target: Annotated[
        tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="COLUMN")
    ] = ()
    """Column of a CSV file to predict; may be repeated."""
    task: TargetTask | None = None
    """Kind of target, by default found."""
    ignore: Annotated[
        tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="COLUMN")
    ] = ()
    """Column that is left out; may be repeated."""
    image_size: Annotated[tuple[int, int] | None, tyro.conf.arg(metavar="HEIGHT WIDTH")] = None
    """Resize the images."""
    color: bool = False
    """Read the images as RGB."""
    val_fraction: float = 0.15
    """Part of the examples for validation."""
    test_fraction: float = 0.15
    """Part of the examples for the test."""
    split_seed: int = 0
    """Seed of the split."""
    sha256: Annotated[str | None, tyro.conf.Suppress] = None

    def __post_init__(self) -> None:
        self.source(Path("FILE"))  # checks the values

    def source(self, path: Path) -> FileSource:
        """Return the files at a path with these options."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return FileSource(path=path, **values)

    def given(self) -> list[str]:
        """Return the names of the options that differ from their defaults."""
        default = DataOptions()
        names = [field.name for field in dataclasses.fields(self)]
        return [name for name in names if getattr(self, name) != getattr(default, name)]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NetworkOptions(MLPConfig):
    """The options of the network."""

    in_features: Annotated[int, tyro.conf.Suppress]
    out_features: Annotated[int | None, tyro.conf.Suppress]
    flatten: Annotated[bool, tyro.conf.Suppress] = False
    activation: Annotated[
        NamedActivation | tuple[NamedActivation, ...],
        config_or_configs_spec(ActivationConfig, _NAMED),
    ] = "relu"
    output_activation: Annotated[NamedActivation | None, tyro.conf.Suppress] = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TrainingOptions(TrainerConfig):
    """The options of the run; the preset and the data set determine their defaults."""

    epochs: int = 10
    batch_size: int = 128
    label_smoothing: float = 0.0
    class_weights: Annotated[ClassWeights | None, CLASS_WEIGHTS] = None
    optimizer: Annotated[OptimizerConfig, config_spec(OptimizerConfig, _NAMED)] = dataclasses.field(
        default_factory=OptimizerConfig
    )
    schedule: Annotated[Schedule, config_spec(Schedule, _NAMED)] = dataclasses.field(
        default_factory=Schedule
    )
    momentum_schedule: Annotated[
        MomentumSchedule | None, optional_config_spec(MomentumSchedule, _NAMED)
    ] = None
    averaging: Annotated[
        AveragingConfig | None, optional_config_spec(AveragingConfig, "DECAY[:OPTION=VALUE,...]")
    ] = None
    early_stopping: Annotated[
        EarlyStopping | None, optional_config_spec(EarlyStopping, "PATIENCE[:min_delta=VALUE]")
    ] = None
    reduce_lr_on_plateau: Annotated[
        ReduceLROnPlateau | None,
        optional_config_spec(ReduceLROnPlateau, "FACTOR[:OPTION=VALUE,...]"),
    ] = None
    monitor: Annotated[str | Monitor, MONITOR] = "val_loss"
    progress: Annotated[bool | Literal["lines"] | None, PROGRESS] = None
    checkpoints: Annotated[CheckpointConfig | None, tyro.conf.Suppress] = None
