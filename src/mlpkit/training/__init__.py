"""Trainer, its configuration, objectives, optimizers, metrics, callbacks and `fit_many`."""

from __future__ import annotations

from mlpkit._devices import Precision
from mlpkit.training._callbacks import Callback
from mlpkit.training._config import (
    CheckpointConfig,
    EarlyStopping,
    Gradients,
    Monitor,
    TrainerConfig,
)
from mlpkit.training._fit_result import FitResult, StopReason
from mlpkit.training._hooks import CallbackLike, StepInfo
from mlpkit.training._loggers import CSVLogger, JSONLinesLogger, TensorBoardLogger
from mlpkit.training._lr_finder import LRCurve
from mlpkit.training._tracker import TrainState
from mlpkit.training._trainer import OptimizerFactory, Trainer
from mlpkit.training.batches import BatchLike, BatchSource, Examples, TrainingData
from mlpkit.training.ensemble import fit_many
from mlpkit.training.metrics import (
    ClassificationMetrics,
    ClassMetrics,
    EpochRow,
    Evaluation,
    History,
)
from mlpkit.training.objectives import (
    CrossEntropy,
    Distillation,
    MeanSquaredError,
    Mixup,
    Objective,
    OutputObjective,
    Task,
    VirtualAdversarial,
)
from mlpkit.training.optim import (
    AnnealStrategy,
    AveragingConfig,
    MomentumKind,
    MomentumSchedule,
    OptimizerConfig,
    OptimizerName,
    Schedule,
    ScheduleKind,
    WeightAverage,
    build_optimizer,
    reestimate_batch_norm,
)

__all__ = [
    "AnnealStrategy",
    "AveragingConfig",
    "BatchLike",
    "BatchSource",
    "CSVLogger",
    "Callback",
    "CallbackLike",
    "CheckpointConfig",
    "ClassMetrics",
    "ClassificationMetrics",
    "CrossEntropy",
    "Distillation",
    "EarlyStopping",
    "EpochRow",
    "Evaluation",
    "Examples",
    "FitResult",
    "Gradients",
    "History",
    "JSONLinesLogger",
    "LRCurve",
    "MeanSquaredError",
    "Mixup",
    "MomentumKind",
    "MomentumSchedule",
    "Monitor",
    "Objective",
    "OptimizerConfig",
    "OptimizerFactory",
    "OptimizerName",
    "OutputObjective",
    "Precision",
    "Schedule",
    "ScheduleKind",
    "StepInfo",
    "StopReason",
    "Task",
    "TensorBoardLogger",
    "TrainState",
    "Trainer",
    "TrainerConfig",
    "TrainingData",
    "VirtualAdversarial",
    "WeightAverage",
    "build_optimizer",
    "fit_many",
    "reestimate_batch_norm",
]
