"""Mean absolute error of a regression."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from mlpkit.training.batches import BatchLike
from mlpkit.training.objectives._objective import Task, outputs_of
from mlpkit.training.objectives._prediction_errors import mean_over_entries, prediction_errors

__all__ = ["MeanAbsoluteError"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanAbsoluteError:
    r"""The absolute error of each example, averaged over its outputs.

    .. math::
        \ell_i = \frac{1}{D} \sum_{d=1}^{D} |f(x_i)_d - y_{id}|

    Its minimum over the predictions is the median of the targets, so a few outliers have little
    effect. The gradient at an error of 0 is 0, as in torch.

    Shape:
        - outputs and targets: ``(N, ...)``, the same shape; they are not broadcast.
        - output: ``(N,)``.

    Raises:
        TypeError: If the targets are not floating-point.
        ValueError: If the shapes of outputs and targets differ.

    Example:
        >>> import torch
        >>> from mlpkit.training import MeanAbsoluteError
        >>> MeanAbsoluteError().loss(torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 1.0]]))
        tensor([1.])
    """

    @property
    def task(self) -> Task:
        """``"regression"``."""
        return "regression"

    def __call__(self, model: nn.Module, batch: BatchLike) -> Tensor:
        """Return the loss of each example."""
        return self.loss(outputs_of(model, batch.inputs), batch.targets)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the absolute error of each example, averaged over its outputs."""
        return mean_over_entries(prediction_errors(outputs, targets).abs())

    def predictions(self, outputs: Tensor, targets: Tensor) -> Tensor:  # noqa: ARG002 - of GaussianNLL
        """Return the outputs, which are the predictions of the targets."""
        return outputs
