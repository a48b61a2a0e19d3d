"""Predictions of a regression from the outputs of a model, where the targets are unknown."""

from __future__ import annotations

from torch import Tensor

from mlpkit.training.objectives._gaussian_nll import GaussianNLL
from mlpkit.training.objectives._mixup import unmixed
from mlpkit.training.objectives._objective import Objective
from mlpkit.training.objectives._scaled_targets import ScaledTargets

__all__ = ["predictions_without_targets"]


def predictions_without_targets(objective: Objective, outputs: Tensor) -> Tensor:
    """Return the predicted means for :class:`GaussianNLL`, ``(N, D)``, else the outputs.

    An evaluation has the targets, and calls the method ``predictions`` of the objective instead,
    which returns the predictions in their shape.
    """
    plain = unmixed(objective)
    if isinstance(plain, ScaledTargets):
        plain = plain.objective
    return plain.means(outputs) if isinstance(plain, GaussianNLL) else outputs
