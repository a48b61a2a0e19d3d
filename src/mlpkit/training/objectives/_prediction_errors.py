"""Differences of outputs and targets of a regression, and their checks."""

from __future__ import annotations

from torch import Tensor

from mlpkit._checks import error_message
from mlpkit.training.objectives._objective import widened

__all__ = ["check_floating", "mean_over_entries", "prediction_errors"]


def prediction_errors(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return outputs minus targets, ``(N, ...)``; outputs in half precision become float32.

    Raises:
        TypeError: If the targets are not floating-point.
        ValueError: If the shapes of outputs and targets differ.
    """
    check_floating(targets)
    if outputs.shape != targets.shape or outputs.ndim == 0:
        rule = f"of the same shape as the output of the model, {tuple(outputs.shape)}"
        raise ValueError(
            error_message("targets", rule, tuple(targets.shape), _shape_cure(outputs, targets))
        )
    predictions = widened(outputs)
    return predictions - targets.to(predictions.dtype)


def check_floating(targets: Tensor) -> None:
    """Raise TypeError unless the targets of a regression are floating-point."""
    if not targets.is_floating_point():
        cure = "pass targets.float() for a regression"
        raise TypeError(error_message("targets", "floating-point", targets.dtype, cure))


def mean_over_entries(values: Tensor) -> Tensor:
    """Return the mean over all axes but the first, ``(N, ...)`` to ``(N,)``."""
    return values if values.ndim == 1 else values.flatten(1).mean(dim=1)


def _shape_cure(outputs: Tensor, targets: Tensor) -> str:
    """Return how to give outputs and targets the same shape."""
    if targets.ndim == 1 and outputs.shape == (*targets.shape, 1):
        return "pass targets[:, None]; nothing is broadcast"
    if outputs.ndim == 1 and targets.shape == (*outputs.shape, 1):
        return "pass targets.squeeze(1); nothing is broadcast"
    return "give the model one output for each entry of a target; nothing is broadcast"
