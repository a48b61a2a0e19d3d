"""The options of the network and of the run: all fields of MLPConfig and TrainerConfig.

Each class below has the fields of its parent. It tells tyro how to parse the fields that are
nested configurations, and hides the fields that the command fills in.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, TypeAlias

import tyro

from mlpkit.cli._config_strings import (
    CLASS_WEIGHTS,
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
    OptimizerConfig,
    Schedule,
    TrainerConfig,
)

__all__ = [
    "HIDDEN_NETWORK_OPTIONS",
    "HIDDEN_OPTIONS",
    "HIDDEN_TRAINING_OPTIONS",
    "DataOptions",
    "NetworkOptions",
    "TrainingOptions",
]

NamedActivation: TypeAlias = ActivationName | ActivationConfig

# Determined by the data set and by SoftmaxClassifier.
HIDDEN_NETWORK_OPTIONS = ("in_features", "out_features", "flatten", "output_activation")
# Determined by the folder of the run.
HIDDEN_TRAINING_OPTIONS = ("checkpoints",)
HIDDEN_OPTIONS = (*HIDDEN_NETWORK_OPTIONS, *HIDDEN_TRAINING_OPTIONS)

_NAMED = "NAME[:OPTION=VALUE,...]"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DataOptions:
    """How a CSV file or a folder of images is read and split; the fields of FileSource."""

    target: Annotated[
        tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="COLUMN")
    ] = ()
    """Column of the CSV file to predict; several for labels or several numbers."""
    task: TargetTask | None = None
    """What the target is; found from its values by default."""
    ignore: Annotated[
        tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="COLUMN")
    ] = ()
    """Column of the CSV file that is left out, such as an identifier; may be repeated."""
    image_size: Annotated[tuple[int, int] | None, tyro.conf.arg(metavar="HEIGHT WIDTH")] = None
    """Size to which the images of a folder are resized."""
    color: bool = False
    """Read the images of a folder as RGB."""
    val_fraction: float = 0.15
    """Fraction of a file or folder held out for validation."""
    test_fraction: float = 0.15
    """Fraction of a file or folder held out for the test."""
    split_seed: int = 0
    """Seed of the split of a file or folder."""
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
    checkpoints: Annotated[CheckpointConfig | None, tyro.conf.Suppress] = None
