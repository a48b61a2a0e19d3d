"""Objectives, which return the loss of each example of a batch."""

from __future__ import annotations

from mlpkit.training.objectives._binary_cross_entropy import (
    BinaryCrossEntropy,
    check_label_targets,
)
from mlpkit.training.objectives._cross_entropy import (
    NEVER_IGNORED,
    CrossEntropy,
    check_class_targets,
)
from mlpkit.training.objectives._distillation import Distillation
from mlpkit.training.objectives._gaussian_nll import GaussianNLL
from mlpkit.training.objectives._huber import Huber
from mlpkit.training.objectives._known_targets import check_known_targets
from mlpkit.training.objectives._loss_of_outputs import is_loss_of_outputs
from mlpkit.training.objectives._mean_absolute_error import MeanAbsoluteError
from mlpkit.training.objectives._mean_squared_error import MeanSquaredError
from mlpkit.training.objectives._mixup import Mixed, Mixup, unmixed
from mlpkit.training.objectives._objective import (
    Objective,
    OutputObjective,
    Task,
    check_losses,
    check_objective,
    checked_outputs,
    is_readable,
    outputs_of,
    predictions_of,
    task_of,
    widened,
)
from mlpkit.training.objectives._prediction_errors import mean_over_entries, prediction_errors
from mlpkit.training.objectives._predictions import predictions_without_targets
from mlpkit.training.objectives._scaled_targets import ScaledTargets
from mlpkit.training.objectives._virtual_adversarial import VirtualAdversarial

__all__ = [
    "NEVER_IGNORED",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "Distillation",
    "GaussianNLL",
    "Huber",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Mixed",
    "Mixup",
    "Objective",
    "OutputObjective",
    "ScaledTargets",
    "Task",
    "VirtualAdversarial",
    "check_class_targets",
    "check_known_targets",
    "check_label_targets",
    "check_losses",
    "check_objective",
    "checked_outputs",
    "is_loss_of_outputs",
    "is_readable",
    "mean_over_entries",
    "outputs_of",
    "prediction_errors",
    "predictions_of",
    "predictions_without_targets",
    "task_of",
    "unmixed",
    "widened",
]
