"""Optimizers by name, schedules, weight averaging and batch-norm re-estimation."""

from __future__ import annotations

from mlpkit.training.optim._averaging import AverageState, AveragingConfig, WeightAverage
from mlpkit.training.optim._batch_norm import reestimate_batch_norm
from mlpkit.training.optim._best_weights import BestWeights
from mlpkit.training.optim._blocks import blocks
from mlpkit.training.optim._eager_optimizers import (
    AdamWOptions,
    AdamWTensors,
    EagerAdamW,
    EagerOptimizer,
    can_fuse,
    fused_adamw_,
)
from mlpkit.training.optim._lbfgs import EagerLBFGS, LineSearchError
from mlpkit.training.optim._optimizers import (
    OPTIMIZERS,
    OptimizerConfig,
    OptimizerName,
    build_optimizer,
    check_steps_without_closure,
    set_initial_lr,
)
from mlpkit.training.optim._plateau import PlateauState, ReduceLROnPlateau, ThresholdMode
from mlpkit.training.optim._rates import Rates
from mlpkit.training.optim._schedule import (
    AnnealStrategy,
    MomentumKind,
    MomentumSchedule,
    Schedule,
    ScheduleKind,
)
from mlpkit.training.optim._weight_swapper import WeightSwapper

__all__ = [
    "OPTIMIZERS",
    "AdamWOptions",
    "AdamWTensors",
    "AnnealStrategy",
    "AverageState",
    "AveragingConfig",
    "BestWeights",
    "EagerAdamW",
    "EagerLBFGS",
    "EagerOptimizer",
    "LineSearchError",
    "MomentumKind",
    "MomentumSchedule",
    "OptimizerConfig",
    "OptimizerName",
    "PlateauState",
    "Rates",
    "ReduceLROnPlateau",
    "Schedule",
    "ScheduleKind",
    "ThresholdMode",
    "WeightAverage",
    "WeightSwapper",
    "blocks",
    "build_optimizer",
    "can_fuse",
    "check_steps_without_closure",
    "fused_adamw_",
    "reestimate_batch_norm",
    "set_initial_lr",
]
