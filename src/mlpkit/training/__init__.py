"""Training that loses nothing: the trainer, and every piece of it that can be used alone."""

from __future__ import annotations

from mlpkit._devices import Precision
from mlpkit.training._callbacks import Callback, StepInfo
from mlpkit.training._config import CheckpointConfig, EarlyStopping, Monitor, TrainerConfig
from mlpkit.training._loggers import CSVLogger, JSONLinesLogger, TensorBoardLogger
from mlpkit.training._lr_finder import LRCurve
from mlpkit.training._progress_bar import ProgressBar
from mlpkit.training._run import StopReason, TrainState
from mlpkit.training._trainer import FitResult, OptimizerFactory, Trainer
from mlpkit.training.batches import BatchLike, BatchSource, Examples, LoaderBatches, TrainingData
from mlpkit.training.ensemble import fit_many
from mlpkit.training.metrics import (
    ClassificationAccumulator,
    ClassificationMetrics,
    ClassMetrics,
    EpochRow,
    Evaluation,
    History,
    RegressionAccumulator,
)
from mlpkit.training.objectives import (
    CrossEntropy,
    Distillation,
    MeanSquaredError,
    Mixed,
    Mixup,
    Objective,
    OutputObjective,
    Task,
    VirtualAdversarial,
    task_of,
)
from mlpkit.training.optim import (
    AnnealStrategy,
    AverageState,
    AveragingConfig,
    MomentumKind,
    MomentumSchedule,
    MuonWithAdamW,
    OptimizerConfig,
    OptimizerName,
    Schedule,
    ScheduleKind,
    WeightAverage,
    build_optimizer,
    reestimate_batch_norm,
    set_initial_lr,
    set_lr,
    set_momentum,
)

__all__ = [
    "AnnealStrategy",
    "AverageState",
    "AveragingConfig",
    "BatchLike",
    "BatchSource",
    "CSVLogger",
    "Callback",
    "CheckpointConfig",
    "ClassMetrics",
    "ClassificationAccumulator",
    "ClassificationMetrics",
    "CrossEntropy",
    "Distillation",
    "EarlyStopping",
    "EpochRow",
    "Evaluation",
    "Examples",
    "FitResult",
    "History",
    "JSONLinesLogger",
    "LRCurve",
    "LoaderBatches",
    "MeanSquaredError",
    "Mixed",
    "Mixup",
    "MomentumKind",
    "MomentumSchedule",
    "Monitor",
    "MuonWithAdamW",
    "Objective",
    "OptimizerConfig",
    "OptimizerFactory",
    "OptimizerName",
    "OutputObjective",
    "Precision",
    "ProgressBar",
    "RegressionAccumulator",
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
    "set_initial_lr",
    "set_lr",
    "set_momentum",
    "task_of",
]
