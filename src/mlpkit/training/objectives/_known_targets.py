"""Checks of the targets of a whole data set, before the first step of a run."""

from __future__ import annotations

from torch import Tensor

from mlpkit._checks import Unquoted, error_message
from mlpkit.training.objectives._binary_cross_entropy import (
    BinaryCrossEntropy,
    check_label_targets,
)
from mlpkit.training.objectives._cross_entropy import (
    CrossEntropy,
    check_class_targets,
    floating_cure,
)
from mlpkit.training.objectives._loss_of_outputs import is_loss_of_outputs
from mlpkit.training.objectives._mixup import unmixed
from mlpkit.training.objectives._objective import Objective
from mlpkit.training.objectives._prediction_errors import check_floating

__all__ = ["check_known_targets"]


def check_known_targets(objective: Objective, targets: Tensor) -> None:
    """Raise if an objective of this package cannot have these targets, whatever the outputs are.

    Args:
        objective: The objective of the run; one of another package is not checked.
        targets: The targets of all examples, ``(N, ...)``.

    Raises:
        TypeError: If the targets have the wrong dtype.
        ValueError: If they have the wrong shape or values.
    """
    plain = unmixed(objective)
    if not is_loss_of_outputs(plain):
        return
    if isinstance(plain, CrossEntropy):
        if not targets.is_floating_point():
            return
        if targets.ndim == 2 and targets.shape[1] > 1:
            check_class_targets(targets, targets)  # the outputs have this shape too
            return
        rule = "class indices, or distributions over at least two classes, for the cross-entropy"
        outputs = targets.flatten(1) if targets.ndim > 1 else targets[:, None]
        cure = floating_cure(outputs, targets)
        if targets.ndim == 1:  # the shape of the outputs is not known yet
            cure += " if the model returns outputs of shape (N, 1)"
        found = Unquoted(f"floats of {(*targets.shape,)}")
        raise ValueError(error_message("targets", rule, found, cure))
    if isinstance(plain, BinaryCrossEntropy):
        check_label_targets(targets, targets)
    else:
        check_floating(targets)
