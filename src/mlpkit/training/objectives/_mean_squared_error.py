"""Mean squared error of a regression."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from mlpkit.training.batches import BatchLike
from mlpkit.training.objectives._objective import Task, outputs_of
from mlpkit.training.objectives._prediction_errors import mean_over_entries, prediction_errors

__all__ = ["MeanSquaredError"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanSquaredError:
    r"""The squared error of each example, averaged over its outputs.

    .. math::
        \ell_i = \frac{1}{D} \sum_{d=1}^{D} (f(x_i)_d - y_{id})^2

    Shape:
        - outputs and targets: ``(N, ...)``, the same shape; they are not broadcast.
        - output: ``(N,)``.

    Raises:
        TypeError: If the targets are not floating-point.
        ValueError: If the shapes of outputs and targets differ.

    Example:
        >>> import torch
        >>> from mlpkit.training import MeanSquaredError
        >>> MeanSquaredError().loss(torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 1.0]]))
        tensor([2.])
    """

    @property
    def task(self) -> Task:
        """``"regression"``."""
        return "regression"

    def __call__(self, model: nn.Module, batch: BatchLike) -> Tensor:
        """Return the loss of each example."""
        return self.loss(outputs_of(model, batch.inputs), batch.targets)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the squared error of each example, averaged over its outputs."""
        return mean_over_entries(prediction_errors(outputs, targets).square())

    def predictions(self, outputs: Tensor, targets: Tensor) -> Tensor:  # noqa: ARG002 - of GaussianNLL
        """Return the outputs, which are the predictions of the targets."""
        return outputs
