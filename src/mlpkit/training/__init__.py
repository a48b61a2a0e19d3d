"""Trainer, its configuration, objectives, optimizers, metrics, callbacks and `fit_many`."""

from __future__ import annotations

from mlpkit._devices import Precision
from mlpkit.training._callbacks import Callback
from mlpkit.training._config import (
    CheckpointConfig,
    ClassWeights,
    EarlyStopping,
    FilledConfig,
    Gradients,
    TrainerConfig,
)
from mlpkit.training._defaults import fill_defaults
from mlpkit.training._fit_result import FitResult, StopReason
from mlpkit.training._hooks import CallbackLike, StepInfo
from mlpkit.training._lr_finder import LRCurve
from mlpkit.training._monitor import Monitor, MonitorMode, MonitorName
from mlpkit.training._run import OptimizerFactory
from mlpkit.training._tracker import TrainState
from mlpkit.training._trainer import Trainer
from mlpkit.training.batches import BatchLike, BatchSource, Examples, TrainingData
from mlpkit.training.checkpoints import Checkpoint, load_checkpoint
from mlpkit.training.ensemble import fit_many
from mlpkit.training.loggers import (
    CSVLogger,
    JSONLinesLogger,
    MLflowLogger,
    TensorBoardLogger,
    WandbLogger,
)
from mlpkit.training.metrics import (
    ClassificationMetrics,
    ClassMetrics,
    EpochRow,
    Evaluation,
    History,
    Metric,
    MetricFunction,
    MetricLike,
    MultilabelMetrics,
    RegressionMetrics,
    TargetMetrics,
    TopKAccuracy,
)
from mlpkit.training.objectives import (
    BinaryCrossEntropy,
    CrossEntropy,
    Distillation,
    GaussianNLL,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
    Mixup,
    Objective,
    OutputObjective,
    ScaledTargets,
    Task,
    VirtualAdversarial,
)
from mlpkit.training.optim import (
    AnnealStrategy,
    AverageState,
    AveragingConfig,
    MomentumKind,
    MomentumSchedule,
    OptimizerConfig,
    OptimizerName,
    ReduceLROnPlateau,
    Schedule,
    ScheduleKind,
    ThresholdMode,
    WeightAverage,
    build_optimizer,
    reestimate_batch_norm,
)

__all__ = [
    "AnnealStrategy",
    "AverageState",
    "AveragingConfig",
    "BatchLike",
    "BatchSource",
    "BinaryCrossEntropy",
    "CSVLogger",
    "Callback",
    "CallbackLike",
    "Checkpoint",
    "CheckpointConfig",
    "ClassMetrics",
    "ClassWeights",
    "ClassificationMetrics",
    "CrossEntropy",
    "Distillation",
    "EarlyStopping",
    "EpochRow",
    "Evaluation",
    "Examples",
    "FilledConfig",
    "FitResult",
    "GaussianNLL",
    "Gradients",
    "History",
    "Huber",
    "JSONLinesLogger",
    "LRCurve",
    "MLflowLogger",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "MetricFunction",
    "MetricLike",
    "Mixup",
    "MomentumKind",
    "MomentumSchedule",
    "Monitor",
    "MonitorMode",
    "MonitorName",
    "MultilabelMetrics",
    "Objective",
    "OptimizerConfig",
    "OptimizerFactory",
    "OptimizerName",
    "OutputObjective",
    "Precision",
    "ReduceLROnPlateau",
    "RegressionMetrics",
    "ScaledTargets",
    "Schedule",
    "ScheduleKind",
    "StepInfo",
    "StopReason",
    "TargetMetrics",
    "Task",
    "TensorBoardLogger",
    "ThresholdMode",
    "TopKAccuracy",
    "TrainState",
    "Trainer",
    "TrainerConfig",
    "TrainingData",
    "VirtualAdversarial",
    "WandbLogger",
    "WeightAverage",
    "build_optimizer",
    "fill_defaults",
    "fit_many",
    "load_checkpoint",
    "reestimate_batch_norm",
]
