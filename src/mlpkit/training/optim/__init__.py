"""Todo."""

from __future__ import annotations

from mlpkit.training.optim._averaging import AverageState, AveragingConfig, WeightAverage
from mlpkit.training.optim._batch_norm import reestimate_batch_norm
from mlpkit.training.optim._blocks import blocks
from mlpkit.training.optim._eager_optimizers import (
    AdamWOptions,
    AdamWTensors,
    EagerAdamW,
    fused_adamw_,
    is_plain,
)
from mlpkit.training.optim._optimizers import (
    MuonWithAdamW,
    OptimizerConfig,
    OptimizerName,
    build_optimizer,
    set_initial_lr,
    set_lr,
    set_momentum,
)
from mlpkit.training.optim._schedule import (
    AnnealStrategy,
    MomentumKind,
    MomentumSchedule,
    Schedule,
    ScheduleKind,
)

__all__ = [
    "AdamWOptions",
    "AdamWTensors",
    "AnnealStrategy",
    "AverageState",
    "AveragingConfig",
    "EagerAdamW",
    "MomentumKind",
    "MomentumSchedule",
    "MuonWithAdamW",
    "OptimizerConfig",
    "OptimizerName",
    "Schedule",
    "ScheduleKind",
    "WeightAverage",
    "blocks",
    "build_optimizer",
    "fused_adamw_",
    "is_plain",
    "reestimate_batch_norm",
    "set_initial_lr",
    "set_lr",
    "set_momentum",
]
