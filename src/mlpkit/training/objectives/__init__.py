"""Losses of each example: cross-entropy, squared error, and objectives built on them."""

from __future__ import annotations

from mlpkit.training.objectives._distillation import Distillation
from mlpkit.training.objectives._mixup import Mixed, Mixup
from mlpkit.training.objectives._objectives import (
    NEVER_IGNORED,
    CrossEntropy,
    MeanSquaredError,
    Objective,
    OutputObjective,
    Task,
    check_class_targets,
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
    "task_of",
    "widened",
]
