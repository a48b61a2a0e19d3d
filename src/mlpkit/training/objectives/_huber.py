"""Huber loss of a regression."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlpkit._checks import check_float, store_checked
from mlpkit.training.batches import BatchLike
from mlpkit.training.objectives._objective import Task, outputs_of
from mlpkit.training.objectives._prediction_errors import mean_over_entries, prediction_errors

__all__ = ["Huber"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Huber:
    r"""The Huber loss of each example, averaged over its outputs.

    .. math::
        \ell_i = \frac{1}{D} \sum_{d=1}^{D} h_\delta(f(x_i)_d - y_{id}), \qquad
        h_\delta(e) = \begin{cases}
            \tfrac{1}{2} e^2 & |e| < \delta \\
            \delta\, (|e| - \tfrac{1}{2} \delta) & \text{otherwise}
        \end{cases}

    The value and the gradient are those of :func:`torch.nn.functional.huber_loss`. Small errors
    have the gradient of half the squared error, and large ones that of :math:`\delta` times the
    absolute error.

    Args:
        delta: The error at which the loss becomes linear, above 0, in the units of the targets. A
            :class:`mlpkit.Regressor` measures it in standard deviations of the targets.

    Shape:
        - outputs and targets: ``(N, ...)``, the same shape; they are not broadcast.
        - output: ``(N,)``.

    Raises:
        TypeError: If the targets are not floating-point.
        ValueError: If ``delta`` is out of range, or the shapes of outputs and targets differ.

    Example:
        >>> import torch
        >>> from mlpkit.training import Huber
        >>> Huber(delta=1.0).loss(torch.tensor([0.5, 3.0]), torch.zeros(2))
        tensor([0.1250, 2.5000])

    References:
        Huber 1964, "Robust Estimation of a Location Parameter".
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        store_checked(self, {"delta": partial(check_float, above=0.0)})

    @property
    def task(self) -> Task:
        """``"regression"``."""
        return "regression"

    def __call__(self, model: nn.Module, batch: BatchLike) -> Tensor:
        """Return the loss of each example."""
        return self.loss(outputs_of(model, batch.inputs), batch.targets)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the Huber loss of each example, averaged over its outputs."""
        errors = prediction_errors(outputs, targets)
        losses = F.huber_loss(errors, torch.zeros_like(errors), reduction="none", delta=self.delta)
        return mean_over_entries(losses)

    def predictions(self, outputs: Tensor, targets: Tensor) -> Tensor:  # noqa: ARG002 - of GaussianNLL
        """Return the outputs, which are the predictions of the targets."""
        return outputs
