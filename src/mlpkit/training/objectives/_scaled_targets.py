"""A loss of a regression whose value does not depend on the units of the targets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from mlpkit._checks import check_float, check_tuple, error_message, plain_scalar, store_checked
from mlpkit.training.batches import BatchLike
from mlpkit.training.objectives._gaussian_nll import GaussianNLL
from mlpkit.training.objectives._huber import Huber
from mlpkit.training.objectives._mean_absolute_error import MeanAbsoluteError
from mlpkit.training.objectives._mean_squared_error import MeanSquaredError
from mlpkit.training.objectives._objective import Task, outputs_of
from mlpkit.training.objectives._prediction_errors import prediction_errors
from mlpkit.training.objectives._tensor_cache import TensorCache

__all__ = ["ScaledTargets"]


@dataclass(frozen=True, slots=True)
class ScaledTargets(TensorCache):
    r"""A loss of outputs and targets that are divided by a scale, such as a standard deviation.

    .. math::
        \ell_i = \ell\!\left( \frac{f(x_i)}{\sigma}, \frac{y_i}{\sigma} \right)

    The model predicts in the units of the targets, while the loss, and with it the learning rate
    that suits it, does not depend on these units. A :class:`mlpkit.Regressor` is trained with
    ``ScaledTargets(MeanSquaredError(), scale=target_std)``. The error is computed before the
    division, so it is exact where outputs and targets are near each other.

    Args:
        objective: The loss: :class:`~mlpkit.training.MeanSquaredError`,
            :class:`~mlpkit.training.MeanAbsoluteError`, :class:`~mlpkit.training.Huber` or
            :class:`~mlpkit.training.GaussianNLL`, whose outputs are divided as means and variances.
        scale: The divisor :math:`\sigma`, above 0, in the units of the targets: one number, or one
            for each entry of a flattened target.

    Shape:
        - outputs and targets: ``(N, ...)``, the same shape; they are not broadcast.
        - output: ``(N,)``.

    Raises:
        TypeError: If the objective is another one, or the targets are not floating-point.
        ValueError: If a scale is out of range, there is not one for each entry, or the shapes of
            outputs and targets differ.

    Example:
        >>> import torch
        >>> from mlpkit.training import MeanSquaredError, ScaledTargets
        >>> objective = ScaledTargets(MeanSquaredError(), scale=(100.0, 0.1))
        >>> outputs, targets = torch.tensor([[1100.0, 0.3]]), torch.tensor([[1000.0, 0.5]])
        >>> objective.loss(outputs, targets)
        tensor([2.5000])
    """

    objective: MeanSquaredError | MeanAbsoluteError | Huber | GaussianNLL
    scale: float | tuple[float, ...] = field(kw_only=True)

    def __post_init__(self) -> None:
        store_checked(self, {"objective": _check_objective, "scale": _check_scale})

    @property
    def task(self) -> Task:
        """``"regression"``."""
        return "regression"

    def __call__(self, model: nn.Module, batch: BatchLike) -> Tensor:
        """Return the loss of each example."""
        return self.loss(outputs_of(model, batch.inputs), batch.targets)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each example in units of the scale."""
        if isinstance(self.objective, GaussianNLL):
            return self._scaled_likelihood(self.objective, outputs, targets)
        errors = prediction_errors(outputs, targets)
        errors = errors / self.scale_of(errors)
        return self.objective.loss(errors, torch.zeros_like(errors))

    def _scaled_likelihood(
        self, objective: GaussianNLL, outputs: Tensor, targets: Tensor
    ) -> Tensor:
        """Return the negative log-likelihood of scaled targets under scaled distributions."""
        means, log_variances = objective.split(outputs, targets)
        errors = means - targets.to(means.dtype).reshape(means.shape)
        scale = self.scale_of(errors)
        log_scale = scale.log() if isinstance(scale, Tensor) else math.log(scale)
        scaled = torch.cat([errors / scale, log_variances - 2.0 * log_scale], dim=1)
        return objective.loss(scaled, torch.zeros_like(errors))

    def scale_of(self, errors: Tensor) -> float | Tensor:
        """Return the divisor of errors, ``(N, ...)``: a number, or a tensor of shape ``(1, ...)``.

        Raises:
            ValueError: If there is not one number for each entry of a target.
        """
        if isinstance(self.scale, float):
            return self.scale
        shape = errors.shape[1:]
        if len(self.scale) != math.prod(shape):
            rule = f"one number, or one for each of the {math.prod(shape)} entries of a target"
            cure = "pass the standard deviation of each entry"
            raise ValueError(error_message("scale", rule, self.scale, cure))
        return self._tensor(self.scale, errors).view(1, *shape) if shape else self.scale[0]

    def predictions(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the predictions of the targets, in their units."""
        return self.objective.predictions(outputs, targets)


def _check_objective(
    argument: str, value: object
) -> MeanSquaredError | MeanAbsoluteError | Huber | GaussianNLL:
    if isinstance(value, MeanSquaredError | MeanAbsoluteError | Huber | GaussianNLL):
        return value
    rule = "MeanSquaredError(), MeanAbsoluteError(), Huber() or GaussianNLL()"
    raise TypeError(error_message(argument, rule, value, "pass one of these"))


def _check_scale(argument: str, value: object) -> float | tuple[float, ...]:
    positive = partial(check_float, above=0.0)
    scalar = plain_scalar(value)
    if isinstance(scalar, Sequence) or getattr(scalar, "ndim", 0) != 0:
        rule = "a positive number, or one for each entry of a target"
        return check_tuple(argument, scalar, positive, rule=rule)
    return positive(argument, scalar)
