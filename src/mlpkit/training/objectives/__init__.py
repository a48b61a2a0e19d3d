"""Objectives, which return the loss of each example of a batch."""

from __future__ import annotations

from mlpkit.training.objectives._cross_entropy import (
    NEVER_IGNORED,
    CrossEntropy,
    check_class_targets,
)
from mlpkit.training.objectives._distillation import Distillation
from mlpkit.training.objectives._mean_squared_error import MeanSquaredError
from mlpkit.training.objectives._mixup import Mixed, Mixup
from mlpkit.training.objectives._objective import (
    Objective,
    OutputObjective,
    Task,
    check_losses,
    task_of,
    widened,
)
from mlpkit.training.objectives._virtual_adversarial import VirtualAdversarial

__all__ = [
    "NEVER_IGNORED",
    "CrossEntropy",
    "Distillation",
    "MeanSquaredError",
    "Mixed",
    "Mixup",
    "Objective",
    "OutputObjective",
    "Task",
    "VirtualAdversarial",
    "check_class_targets",
    "check_losses",
    "task_of",
    "widened",
]
