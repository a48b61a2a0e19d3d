"""The options of the network and of the run: all fields of MLPConfig and TrainerConfig.

Each class below has the fields of its parent. It tells tyro how to parse the fields that are
nested configurations, and hides the fields that the command fills in.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal, TypeAlias

import tyro

from mlpkit.cli._config_strings import config_or_configs_spec, config_spec, optional_config_spec
from mlpkit.nn import ActivationConfig, ActivationName, MLPConfig
from mlpkit.training import (
    AveragingConfig,
    CheckpointConfig,
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
    class_weights: Annotated[
        tuple[float, ...] | dict[str, float] | Literal["balanced"] | None,
        tyro.conf.arg(metavar="balanced|NUMBER...|CLASS NUMBER..."),
    ] = None
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
