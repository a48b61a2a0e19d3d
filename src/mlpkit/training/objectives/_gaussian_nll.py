"""Negative log-likelihood of a normal distribution whose mean and variance are predicted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from mlpkit._checks import check_float, error_message, store_checked
from mlpkit.training.batches import BatchLike
from mlpkit.training.objectives._objective import Task, outputs_of, widened
from mlpkit.training.objectives._prediction_errors import check_floating

__all__ = ["GaussianNLL"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianNLL:
    r"""Negative log-likelihood of each target under a predicted normal distribution, in nats.

    .. math::
        \ell_i = \frac{1}{2 D} \sum_{d=1}^{D} \left(
            \log v_{id} + \frac{(y_{id} - m_{id})^2}{v_{id}} + \log 2 \pi \right), \qquad
        v_{id} = \max(e^{s_{id}}, v_{\min})

    The model has two outputs for each entry of a target: first all means :math:`m`, then all
    logarithms of the variances :math:`s`. The value and the gradient are those of
    :class:`torch.nn.GaussianNLLLoss` with ``full=True``: the lower bound of the variance has no
    effect on its gradient, so a variance below the bound can grow again. The computation uses the
    logarithms, so large variances do not overflow.

    Args:
        min_variance: Lower bound :math:`v_{\min}` of the variance, above 0, in squared units of the
            targets.

    Shape:
        - targets: ``(N, ...)`` with D entries for each example; ``(N,)`` has D = 1.
        - outputs: ``(N, 2 D)``: D means and D logarithms of variances, in the order of a flattened
          target.
        - output: ``(N,)``.

    Raises:
        TypeError: If the targets are not floating-point.
        ValueError: If ``min_variance`` is out of range, or a shape does not match.

    Example:
        >>> import torch
        >>> from mlpkit.training import GaussianNLL
        >>> outputs = torch.tensor([[3.0, 0.0]])  # mean 3, variance 1
        >>> loss = GaussianNLL().loss(outputs, torch.tensor([4.0]))
        >>> round(loss.item(), 4)
        1.4189

    References:
        Nix and Weigend 1994, "Estimating the Mean and Variance of the Target Probability
        Distribution".
    """

    min_variance: float = 1e-6

    def __post_init__(self) -> None:
        store_checked(self, {"min_variance": partial(check_float, above=0.0)})

    @property
    def task(self) -> Task:
        """``"regression"``."""
        return "regression"

    def __call__(self, model: nn.Module, batch: BatchLike) -> Tensor:
        """Return the loss of each example."""
        return self.loss(outputs_of(model, batch.inputs), batch.targets)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the negative log-likelihood of each example, averaged over its targets."""
        means, log_variances = self.split(outputs, targets)
        errors = means - targets.to(means.dtype).reshape(means.shape)
        bounded = log_variances.detach().clamp(min=math.log(self.min_variance))
        # The ratio e^s / v has the derivative 1 above the bound, and that of torch below it.
        ratio = (log_variances - bounded).exp()
        log_variances = bounded + (ratio - ratio.detach())
        losses = log_variances + errors.square() * (-log_variances).exp() + math.log(2.0 * math.pi)
        return 0.5 * losses.mean(dim=1)

    def split(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and logarithms of the variances, each ``(N, D)``, at least in float32."""
        _check_shapes(outputs, targets)
        means, log_variances = widened(outputs).chunk(2, dim=1)
        return means, log_variances

    def predictions(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the predicted means in the shape of the targets."""
        _check_shapes(outputs, targets)
        return self.means(outputs).reshape(targets.shape)

    def means(self, outputs: Tensor) -> Tensor:
        """Return the predicted means, the first half of the outputs: ``(N, 2 D)`` to ``(N, D)``."""
        means, _ = outputs.chunk(2, dim=-1)
        return means


def _check_shapes(outputs: Tensor, targets: Tensor) -> None:
    """Raise unless there are two outputs for each entry of a target."""
    check_floating(targets)
    if targets.ndim == 0:
        raise ValueError(error_message("targets", "of shape (N, ...)", (), "add an axis"))
    wanted = (len(targets), 2 * math.prod(targets.shape[1:]))
    if outputs.shape != wanted:
        rule = f"of shape {wanted}, a mean and a logarithm of the variance for each target"
        cure = f"give the model {wanted[1]} outputs"
        raise ValueError(error_message("outputs", rule, tuple(outputs.shape), cure))
