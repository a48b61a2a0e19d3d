"""Training that loses nothing: the trainer, and every piece of it that can be used alone."""

from __future__ import annotations

from mlpkit.training._averaging import AverageState, AveragingConfig, WeightAverage
from mlpkit.training._batch_norm import reestimate_batch_norm
from mlpkit.training._callbacks import Callback, StepInfo
from mlpkit.training._config import CheckpointConfig, EarlyStopping, Monitor, TrainerConfig
from mlpkit.training._distillation import Distillation
from mlpkit.training._engine import Precision
from mlpkit.training._history import EpochRow, History
from mlpkit.training._loggers import CSVLogger, JSONLinesLogger, TensorBoardLogger
from mlpkit.training._lr_finder import LRCurve
from mlpkit.training._many import fit_many
from mlpkit.training._metrics import (
    ClassFigures,
    ClassificationFigures,
    ClassificationMetrics,
    Evaluation,
    RegressionMetrics,
)
from mlpkit.training._mixup import Mixed, Mixup
from mlpkit.training._objectives import (
    CrossEntropy,
    MeanSquaredError,
    Objective,
    OutputObjective,
    Task,
    task_of,
)
from mlpkit.training._optimizers import (
    HasParamGroups,
    MuonWithAdamW,
    OptimizerConfig,
    OptimizerName,
    ParamGroup,
    build_optimizer,
    remember_lr,
    set_lr,
    set_momentum,
)
from mlpkit.training._progress import ProgressBar
from mlpkit.training._run import StopReason, TrainState
from mlpkit.training._schedule import (
    AnnealStrategy,
    MomentumKind,
    MomentumSchedule,
    Schedule,
    ScheduleKind,
)
from mlpkit.training._sources import BatchLike, BatchSource, Examples, LoaderBatches, TrainingData
from mlpkit.training._trainer import FitResult, OptimizerFactory, Trainer
from mlpkit.training._virtual_adversarial import VirtualAdversarial

__all__ = [
    "AnnealStrategy",
    "AverageState",
    "AveragingConfig",
    "BatchLike",
    "BatchSource",
    "CSVLogger",
    "Callback",
    "CheckpointConfig",
    "ClassFigures",
    "ClassificationFigures",
    "ClassificationMetrics",
    "CrossEntropy",
    "Distillation",
    "EarlyStopping",
    "EpochRow",
    "Evaluation",
    "Examples",
    "FitResult",
    "HasParamGroups",
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
    "ParamGroup",
    "Precision",
    "ProgressBar",
    "RegressionMetrics",
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
    "remember_lr",
    "set_lr",
    "set_momentum",
    "task_of",
]
