"""Accumulation of the metrics of a regression over batches, on the device."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mlpkit._checks import error_message
from mlpkit._devices import accumulator_dtype
from mlpkit.training.metrics._loss_sums import LossSums, checked_losses, no_examples
from mlpkit.training.metrics._results import Evaluation, RegressionMetrics, TargetMetrics
from mlpkit.training.objectives import MeanSquaredError, prediction_errors

__all__ = ["RegressionAccumulator"]


class RegressionAccumulator:
    r"""Accumulates loss, errors and coefficient of determination of a regression.

    For each entry :math:`d` of a target,

    .. math::
        R^2_d = 1 - \frac{\sum_i w_i (y_{id} - f(x_i)_d)^2}{\sum_i w_i (y_{id} - \bar y_d)^2}

    It is 1 for a constant target that is predicted exactly, and 0 for another prediction of a
    constant target. All values are summed on the device, in float64 (float32 on MPS).
    :meth:`update` does not synchronize with the device. The means of the batches are merged, so a
    large offset of the targets does not cancel their variance.

    Args:
        target_names: Names of the entries of a target; None means their indices.

    Example:
        >>> import torch
        >>> from mlpkit.training.metrics import RegressionAccumulator
        >>> metrics = RegressionAccumulator()
        >>> metrics.update(torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [4.0]]))
        >>> evaluation = metrics.compute()
        >>> evaluation.loss, evaluation.mae
        (2.0, 1.0)

    References:
        Chan, Golub and LeVeque 1983, "Algorithms for Computing the Sample Variance", section 2
        (variance of merged batches).
    """

    def __init__(self, target_names: Sequence[str] | None = None) -> None:
        self._names = None if target_names is None else tuple(target_names)
        self._mean_squared_error = MeanSquaredError()
        self._sums: _RegressionSums | None = None
        self._num_examples = 0

    def update(
        self,
        outputs: Tensor,
        targets: Tensor,
        weights: Tensor | None = None,
        *,
        losses: Tensor | None = None,
    ) -> None:
        """Add one batch.

        Args:
            outputs: Predictions of the targets, ``(N, ...)``.
            targets: Targets, of the same shape.
            weights: Weight of each example, ``(N,)``; None means 1.
            losses: Loss of each example, ``(N,)``; None means the mean squared error.

        Raises:
            TypeError: If the targets are not floating-point.
            ValueError: If a shape does not match.
        """
        with torch.no_grad():
            losses = checked_losses(
                self._mean_squared_error, outputs, targets, weights=weights, losses=losses
            )
            wide = accumulator_dtype(losses.device)
            errors = prediction_errors(outputs.to(wide), targets)
            rows = errors.reshape(len(errors), -1) if len(errors) else errors.new_zeros(0, 0)
            if self._sums is None:
                self._check_names(rows.shape[1])
                self._sums = _RegressionSums(rows.shape[1], losses.device)
            self._sums.add(rows, targets.reshape(rows.shape), losses, weights)
            self._num_examples += len(losses)

    def _check_names(self, num_targets: int) -> None:
        if self._names is not None and len(self._names) != num_targets:
            rule = f"one name for each of the {num_targets} entries of a target"
            cure = "pass as many names as a target has entries"
            raise ValueError(error_message("target_names", rule, self._names, cure))

    def compute(self) -> Evaluation:
        """Return the metrics of all batches so far; synchronizes with the device.

        Raises:
            ValueError: If there was no example, or all weights are zero.
        """
        if self._sums is None or self._num_examples == 0:
            raise no_examples()
        loss, squared, absolute, variance = self._sums.fetch()
        r2 = [
            1.0 - error / spread if spread > 0.0 else float(error == 0.0)
            for error, spread in zip(squared, variance, strict=True)
        ]
        per_target = tuple(
            TargetMetrics(
                name=str(index) if self._names is None else self._names[index],
                rmse=math.sqrt(squared[index]),
                mae=absolute[index],
                r2=r2[index],
            )
            for index in range(len(squared))
        )
        return Evaluation(
            loss=loss,
            num_examples=self._num_examples,
            regression=RegressionMetrics(
                rmse=math.sqrt(_mean(squared)),
                mae=_mean(absolute),
                r2=_mean(r2),
                per_target=per_target,
            ),
        )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


class _RegressionSums:
    """Sums on the device from which all metrics of a regression follow, ``(D,)`` each."""

    def __init__(self, num_targets: int, device: torch.device) -> None:
        self._losses = LossSums(device)
        self._squared = torch.zeros(num_targets, dtype=self._losses.loss.dtype, device=device)
        self._absolute = torch.zeros_like(self._squared)
        self._mean = torch.zeros_like(self._squared)
        self._spread = torch.zeros_like(self._squared)  # sum of squared distances to the mean

    def add(self, errors: Tensor, targets: Tensor, losses: Tensor, weights: Tensor | None) -> None:
        before = self._losses.weight.clone()
        weights = self._losses.add(losses, weights)
        if len(errors) == 0:
            return
        each = torch.ones_like(errors[:, 0]) if weights is None else weights
        self._squared += each @ errors.square()
        self._absolute += each @ errors.abs()
        # Distances to one example are exact where the targets are near each other.
        first = targets[0].to(errors.dtype)
        distances = targets.to(errors.dtype) - first
        total = each.sum()
        nonzero = torch.where(total > 0.0, total, 1.0)
        mean = (each @ distances) / nonzero
        self._spread += each @ (distances - mean).square()
        # Chan et al., equation 2.1: merge the means and the sums of squared distances.
        shift = (first - self._mean) + mean
        shift = torch.where(before > 0.0, shift, 0.0)
        whole = torch.where(before + total > 0.0, before + total, 1.0)
        self._spread += shift.square() * (before * total / whole)
        merged = self._mean + shift * (total / whole)
        self._mean = torch.where(before > 0.0, merged, first + mean)

    def fetch(self) -> tuple[float, list[float], list[float], list[float]]:
        """Return the loss, and of each target the means of squared and absolute error, variance."""
        loss = self._losses.fetch()
        means = torch.stack([self._squared, self._absolute, self._spread]) / self._losses.weight
        squared, absolute, variance = means.tolist()
        return loss, squared, absolute, variance
