"""Weighted mean of the losses over batches, on the device."""

from __future__ import annotations

import torch
from torch import Tensor

from mlpkit._checks import error_message
from mlpkit._devices import accumulator_dtype
from mlpkit.training.metrics._results import Evaluation
from mlpkit.training.objectives import OutputObjective

__all__ = ["LossAccumulator", "LossSums", "checked_losses", "no_examples"]


class LossAccumulator:
    """Accumulates the mean loss over batches, in float64 (float32 on MPS) on the device.

    Example:
        >>> import torch
        >>> from mlpkit.training.metrics import LossAccumulator
        >>> metrics = LossAccumulator()
        >>> metrics.update(torch.tensor([0.0, 4.0]))
        >>> metrics.compute().loss
        2.0
    """

    def __init__(self) -> None:
        self._sums: LossSums | None = None
        self._num_examples = 0

    def update(self, losses: Tensor, weights: Tensor | None = None) -> None:
        """Add one batch.

        Args:
            losses: Loss of each example, ``(N,)``.
            weights: Weight of each example, ``(N,)``; None means 1.

        Raises:
            ValueError: If a shape does not match.
        """
        _check_rows("losses", losses, losses.numel())
        _check_rows("weights", weights, len(losses))
        with torch.no_grad():
            if self._sums is None:
                self._sums = LossSums(losses.device)
            self._sums.add(losses, weights)
            self._num_examples += len(losses)

    def compute(self) -> Evaluation:
        """Return the mean loss of all batches so far; synchronizes with the device.

        Raises:
            ValueError: If there was no example, or all weights are zero.
        """
        if self._sums is None:
            raise no_examples()
        return Evaluation(loss=self._sums.fetch(), num_examples=self._num_examples)


def checked_losses(
    objective: OutputObjective,
    outputs: Tensor,
    targets: Tensor,
    *,
    weights: Tensor | None,
    losses: Tensor | None,
) -> Tensor:
    """Return the loss of each example: the given one, or that of the objective for None.

    Raises:
        ValueError: If the losses or the weights are not one number for each example.
    """
    _check_rows("weights", weights, len(outputs))
    _check_rows("losses", losses, len(outputs))
    return objective.loss(outputs, targets) if losses is None else losses


def no_examples() -> ValueError:
    """Return the error of metrics of no example."""
    return ValueError(error_message("data", "at least one example", 0, "add examples"))


def _check_rows(name: str, values: Tensor | None, num_rows: int) -> None:
    """Raise unless values are None or have the shape ``(num_rows,)``."""
    if values is not None and values.shape != (num_rows,):
        raise ValueError(error_message(name, f"of shape ({num_rows},)", tuple(values.shape)))


class LossSums:
    """Sum of the weighted losses and sum of the weights."""

    def __init__(self, device: torch.device) -> None:
        self.loss = torch.zeros((), dtype=accumulator_dtype(device), device=device)
        self.weight = torch.zeros_like(self.loss)

    def add(self, losses: Tensor, weights: Tensor | None) -> Tensor | None:
        """Add a batch, and return its weights in the dtype of the sums."""
        losses = losses.to(self.loss.dtype)
        if weights is None:
            self.loss += losses.sum()
            self.weight += len(losses)
            return None
        weights = weights.to(self.loss.dtype)
        self.loss += (losses * weights).sum()
        self.weight += weights.sum()
        return weights

    def fetch(self) -> float:
        """Return the mean loss."""
        weight = float(self.weight)
        _check_weight(weight)
        return float(self.loss) / weight


def _check_weight(weight: float) -> None:
    if weight <= 0.0:
        raise ValueError(
            error_message("weights", "greater than 0 for at least one example", weight)
        )
