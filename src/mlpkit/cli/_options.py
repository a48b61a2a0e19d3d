"""The options of network and training: the fields of MLPConfig and TrainerConfig, none by hand.

Each class below is its parent; it only tells tyro how to read the fields that are configurations
themselves, and hides those that the command line fills in.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, TypeAlias

import tyro

from mlpkit.cli._config_strings import optional_word_of, word_of, words_of
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

__all__ = ["HIDDEN_NETWORK_OPTIONS", "NetworkOptions", "TrainingOptions"]

NamedActivation: TypeAlias = ActivationName | ActivationConfig

# What the data set and the classifier decide.
HIDDEN_NETWORK_OPTIONS = ("in_features", "out_features", "flatten", "output_activation")

_NAMED = "NAME[:OPTION=VALUE,...]"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NetworkOptions(MLPConfig):
    """The network."""

    in_features: Annotated[int, tyro.conf.Suppress]
    out_features: Annotated[int | None, tyro.conf.Suppress]
    flatten: Annotated[bool, tyro.conf.Suppress] = False
    activation: Annotated[
        NamedActivation | tuple[NamedActivation, ...], words_of(ActivationConfig, _NAMED)
    ] = "relu"
    output_activation: Annotated[NamedActivation | None, tyro.conf.Suppress] = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TrainingOptions(TrainerConfig):
    """The training."""

    optimizer: Annotated[OptimizerConfig, word_of(OptimizerConfig, _NAMED)] = dataclasses.field(
        default_factory=OptimizerConfig
    )
    schedule: Annotated[Schedule, word_of(Schedule, _NAMED)] = dataclasses.field(
        default_factory=Schedule
    )
    momentum_schedule: Annotated[
        MomentumSchedule | None, optional_word_of(MomentumSchedule, _NAMED)
    ] = None
    averaging: Annotated[
        AveragingConfig | None, optional_word_of(AveragingConfig, "DECAY[:OPTION=VALUE,...]")
    ] = None
    early_stopping: Annotated[
        EarlyStopping | None, optional_word_of(EarlyStopping, "PATIENCE[:min_delta=VALUE]")
    ] = None
    checkpoints: Annotated[CheckpointConfig | None, tyro.conf.Suppress] = None
