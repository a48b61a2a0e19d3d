"""Objectives whose loss of an example depends on its output and its target only."""

from __future__ import annotations

from typing import TypeGuard

from mlpkit.training.objectives._binary_cross_entropy import BinaryCrossEntropy
from mlpkit.training.objectives._cross_entropy import CrossEntropy
from mlpkit.training.objectives._gaussian_nll import GaussianNLL
from mlpkit.training.objectives._huber import Huber
from mlpkit.training.objectives._mean_absolute_error import MeanAbsoluteError
from mlpkit.training.objectives._mean_squared_error import MeanSquaredError
from mlpkit.training.objectives._objective import Objective, OutputObjective
from mlpkit.training.objectives._scaled_targets import ScaledTargets

__all__ = ["is_loss_of_outputs"]


def is_loss_of_outputs(objective: Objective) -> TypeGuard[OutputObjective]:
    """Return whether the loss is a function of the outputs of one forward pass and the targets.

    Subclasses may do something else, and do not count. The loss of each example depends on no other
    example, so the rows of several networks may form one batch.
    """
    return type(objective) in (
        CrossEntropy,
        BinaryCrossEntropy,
        MeanSquaredError,
        MeanAbsoluteError,
        Huber,
        GaussianNLL,
        ScaledTargets,
    )
