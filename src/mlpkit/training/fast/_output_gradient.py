"""The loss of a batch and its gradient with respect to the outputs of the model."""

from __future__ import annotations

import math
from typing import TypeGuard

import torch
from torch import Tensor

from mlpkit.training.objectives import (
    NEVER_IGNORED,
    BinaryCrossEntropy,
    CrossEntropy,
    MeanSquaredError,
    OutputObjective,
    ScaledTargets,
    check_class_targets,
    mean_over_entries,
    prediction_errors,
    widened,
)

__all__ = ["loss_and_gradient", "stacked_loss_and_gradient"]

_NO_REDUCTION = 0  # at::Reduction::None
# A smaller gradient of a certain prediction becomes subnormal in the layers below, and products of
# subnormal numbers take 20 times as long. Its square underflows in float32.
_SMALLEST = 1e-25


def loss_and_gradient(
    objective: OutputObjective, outputs: Tensor, targets: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Return the losses of a batch, and the gradient of their weighted sum by the outputs.

    .. math::
        L = \sum_i w_i\, l_i, \qquad \frac{\partial L}{\partial z_{ic}}
        = w_i \left(\operatorname{softmax}(z_i)_c - q_{ic}\right)
        \quad\text{for the cross-entropy of a class, smoothed or not}

    with the targets :math:`q` of :class:`~mlpkit.training.CrossEntropy`. The gradients of the
    binary cross-entropy and of the squared error, scaled or not, have closed forms too. They are
    computed in the order of operations of autograd, so they are equal bit for bit, but an entry of
    the cross-entropies in float32 of at most 1e-25 in magnitude is 0. For other objectives and
    targets autograd computes the gradient.

    Args:
        objective: Loss of each example.
        outputs: Outputs of the model, without an autograd graph.
        targets: Targets of the objective.
        weights: Factor on the loss of each example.

    Shape:
        - outputs: ``(N, ...)``; weights: ``(N,)``.
        - losses (first result): ``(N,)``, without weights.
        - gradient (second result): like ``outputs``.
    """
    if type(objective) is CrossEntropy and not targets.is_floating_point():
        check_class_targets(outputs, targets)
        return _class_loss_and_gradient(objective, outputs, targets, weights)
    if type(objective) is BinaryCrossEntropy:
        return _label_loss_and_gradient(objective, outputs, targets, weights)
    if type(objective) is MeanSquaredError or _is_scaled_squared_error(objective):
        return _squared_loss_and_gradient(objective, outputs, targets, weights)
    with torch.enable_grad():
        leaf = outputs.detach().requires_grad_()
        losses = objective.loss(leaf, targets)
    (gradient,) = torch.autograd.grad(losses, leaf, weights)
    return losses.detach(), gradient


def stacked_loss_and_gradient(
    objective: OutputObjective, outputs: Tensor, targets: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the result of :func:`loss_and_gradient` for the outputs of several networks.

    Shape:
        - outputs: ``(K, N, ...)``; for logits the fastest memory order is ``(K, C, N)``.
        - targets: ``(K, N, ...)``; weights: ``(K, N)``.
        - losses: ``(K, N)``; gradient: like ``outputs``.
    """
    if type(objective) is CrossEntropy and not targets.is_floating_point():
        check_class_targets(outputs[0], targets[0])
        losses, gradient = _class_loss_and_gradient(
            objective, outputs.mT.unsqueeze(3), targets.unsqueeze(2), weights.unsqueeze(2)
        )
        return losses.squeeze(2), gradient.squeeze(3).mT
    losses, gradient = loss_and_gradient(
        objective, outputs.flatten(0, 1), targets.flatten(0, 1), weights.flatten()
    )
    return losses.view(weights.shape), gradient.view(outputs.shape)


def _class_loss_and_gradient(
    objective: CrossEntropy, outputs: Tensor, targets: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Return cross-entropy and gradient for targets that are class indices.

    Shape:
        - outputs: ``(N, C)`` or ``(K, C, N, 1)``; targets and weights: the same without C.
    """
    aten = torch.ops.aten
    if outputs.ndim == 2:
        nll_loss, nll_loss_backward = aten.nll_loss_forward, aten.nll_loss_backward
    else:
        nll_loss, nll_loss_backward = aten.nll_loss2d_forward, aten.nll_loss2d_backward
    logits = widened(outputs)
    scores = torch.log_softmax(logits, 1)
    try:
        losses, total = nll_loss(scores, targets, None, _NO_REDUCTION, NEVER_IGNORED)
    except IndexError:
        objective.loss(outputs.movedim(1, -1).flatten(0, -2), targets.flatten())  # raises the error
        raise
    # As in torch: (1 - e) times the loss of the target class plus e / C times that of every class.
    smoothing = objective.label_smoothing
    of_class = weights if smoothing == 0.0 else weights * (1.0 - smoothing)
    gradient = nll_loss_backward(
        of_class, scores, targets, None, _NO_REDUCTION, NEVER_IGNORED, total
    )
    if smoothing > 0.0:
        per_class = smoothing / logits.shape[1]
        losses = losses * (1.0 - smoothing) - scores.sum(1) * per_class
        gradient -= (weights * per_class).unsqueeze(1)
    gradient = aten._log_softmax_backward_data(gradient, scores, 1, logits.dtype)
    return losses, _without_tiny(gradient.to(outputs.dtype))


def _label_loss_and_gradient(
    objective: BinaryCrossEntropy, outputs: Tensor, targets: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Return binary cross-entropy and gradient, ``(N, L)`` or ``(N,)``."""
    losses = objective.loss(outputs, targets)
    logits = widened(outputs)
    targets = targets.to(logits.dtype)
    pos_weight = objective.pos_weight_of(logits)
    if pos_weight is None:
        gradient = torch.sigmoid(logits) - targets
    else:
        weighted = pos_weight * targets
        gradient = (weighted + 1.0 - targets) * torch.sigmoid(logits) - weighted
    return losses, _without_tiny(gradient.mul_(_per_entry(weights, outputs)).to(outputs.dtype))


def _without_tiny(gradient: Tensor) -> Tensor:
    """Return the gradient with 0 for entries whose products would be subnormal."""
    is_float32 = gradient.dtype == torch.float32
    return torch.hardshrink(gradient, _SMALLEST) if is_float32 else gradient


def _is_scaled_squared_error(objective: OutputObjective) -> TypeGuard[ScaledTargets]:
    return type(objective) is ScaledTargets and type(objective.objective) is MeanSquaredError


def _squared_loss_and_gradient(
    objective: MeanSquaredError | ScaledTargets, outputs: Tensor, targets: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Return squared error and gradient, ``(N, ...)``."""
    scale: float | Tensor = 1.0
    errors = prediction_errors(outputs, targets)
    if isinstance(objective, ScaledTargets):
        scale = objective.scale_of(errors)
        errors = errors / scale
    losses = mean_over_entries(errors.square())
    gradient = errors.mul_(2.0).mul_(_per_entry(weights, errors))
    if isinstance(objective, ScaledTargets):
        gradient = gradient.div_(scale)
    return losses, gradient.to(outputs.dtype)


def _per_entry(weights: Tensor, outputs: Tensor) -> Tensor:
    """Return the factor on the loss of each entry, ``(N, 1, ...)``."""
    num_entries = math.prod(outputs.shape[1:])
    return (weights / num_entries).view(-1, *[1] * (outputs.ndim - 1))
