"""The loss of a batch and its gradient with respect to the outputs of the model."""

from __future__ import annotations

import torch
from torch import Tensor

from mlpkit.training._objectives import (
    NEVER_IGNORED,
    CrossEntropy,
    OutputObjective,
    check_class_targets,
)

__all__ = ["loss_and_gradient"]

_NO_REDUCTION = 0  # at::Reduction::None


def loss_and_gradient(
    objective: OutputObjective, outputs: Tensor, targets: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Return the weighted loss of a batch and its gradient with respect to the outputs.

    .. math::
        L = \sum_i w_i\, l_i, \qquad \frac{\partial L}{\partial z_{ic}}
        = w_i \left(\operatorname{softmax}(z_i)_c - y_{ic}\right)
        \quad\text{for the cross-entropy of a class}

    That gradient takes the kernels that autograd would call, so the bits are the same; any other
    is autograd's.

    Args:
        objective: Gives the loss of each example.
        outputs: What the model returned, without a graph.
        targets: As the objective takes them.
        weights: The factor on the loss of each example.

    Shape:
        - outputs: ``(N, ...)``; weights: ``(N,)``.
        - losses, the first result: ``(N,)``, not weighted.
        - gradient, the second: as ``outputs``.
    """
    is_plain = (
        type(objective) is CrossEntropy
        and objective.label_smoothing == 0.0
        and outputs.dtype == torch.float32
        and not targets.is_floating_point()
    )
    if is_plain:
        return _of_a_class(objective, outputs, targets, weights)
    with torch.enable_grad():
        leaf = outputs.detach().requires_grad_()
        losses = objective.loss(leaf, targets)
    (gradient,) = torch.autograd.grad(losses, leaf, weights)
    return losses.detach(), gradient


def _of_a_class(
    objective: OutputObjective, outputs: Tensor, targets: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Return cross-entropy and gradient where every target is a class."""
    check_class_targets(outputs, targets)
    aten = torch.ops.aten
    scores = torch.log_softmax(outputs, 1)
    try:
        losses, total = aten.nll_loss_forward(scores, targets, None, _NO_REDUCTION, NEVER_IGNORED)
    except IndexError:
        objective.loss(outputs, targets)  # says which target it is
        raise
    gradient = aten.nll_loss_backward(
        weights, scores, targets, None, _NO_REDUCTION, NEVER_IGNORED, total
    )
    return losses, aten._log_softmax_backward_data(gradient, scores, 1, outputs.dtype)
