"""The loss of a batch and its gradient with respect to the outputs of the model."""

from __future__ import annotations

import torch
from torch import Tensor

from mlpkit.training.objectives import (
    NEVER_IGNORED,
    CrossEntropy,
    OutputObjective,
    check_class_targets,
    widened,
)

__all__ = ["loss_and_gradient", "stacked_loss_and_gradient"]

_NO_REDUCTION = 0  # at::Reduction::None


def loss_and_gradient(
    objective: OutputObjective, outputs: Tensor, targets: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Return the weighted loss of a batch and its gradient with respect to the outputs.

    .. math::
        L = \sum_i w_i\, l_i, \qquad \frac{\partial L}{\partial z_{ic}}
        = w_i \left(\operatorname{softmax}(z_i)_c - q_{ic}\right)
        \quad\text{for the cross-entropy of a class, smoothed or not}

    with the targets :math:`q` of :class:`~mlpkit.training.CrossEntropy`. That gradient takes the
    kernels that autograd would call, so the bits are the same; any other is autograd's.

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
    if type(objective) is CrossEntropy and not targets.is_floating_point():
        check_class_targets(outputs, targets)
        return _of_a_class(objective, outputs, targets, weights)
    with torch.enable_grad():
        leaf = outputs.detach().requires_grad_()
        losses = objective.loss(leaf, targets)
    (gradient,) = torch.autograd.grad(losses, leaf, weights)
    return losses.detach(), gradient


def stacked_loss_and_gradient(
    objective: OutputObjective, outputs: Tensor, targets: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Return what :func:`loss_and_gradient` does, for the examples of many networks.

    Shape:
        - outputs: ``(K, N, ...)``; of logits it is fastest where the examples lie last in memory.
        - targets: ``(K, N, ...)``; weights: ``(K, N)``.
        - losses: ``(K, N)``; gradient: as ``outputs``.
    """
    if type(objective) is CrossEntropy and not targets.is_floating_point():
        check_class_targets(outputs[0], targets[0])
        losses, gradient = _of_a_class(
            objective, outputs.mT.unsqueeze(3), targets.unsqueeze(2), weights.unsqueeze(2)
        )
        return losses.squeeze(2), gradient.squeeze(3).mT
    rows, their_targets = outputs.flatten(0, 1), targets.flatten(0, 1)
    losses, gradient = loss_and_gradient(objective, rows, their_targets, weights.flatten())
    return losses.view(weights.shape), gradient.view(outputs.shape)


def _of_a_class(
    objective: CrossEntropy, outputs: Tensor, targets: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Return cross-entropy and gradient where every target is a class.

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
        objective.loss(outputs.movedim(1, -1).flatten(0, -2), targets.flatten())  # says which it is
        raise
    # As torch has it: (1 - e) of the loss of the class, and e / C of that of every class.
    smoothing = objective.label_smoothing
    of_class = weights if smoothing == 0.0 else weights * (1.0 - smoothing)
    gradient = nll_loss_backward(
        of_class, scores, targets, None, _NO_REDUCTION, NEVER_IGNORED, total
    )
    if smoothing > 0.0:
        each = smoothing / logits.shape[1]
        losses = losses * (1.0 - smoothing) - scores.sum(1) * each
        gradient -= (weights * each).unsqueeze(1)
    gradient = aten._log_softmax_backward_data(gradient, scores, 1, logits.dtype)
    return losses, gradient.to(outputs.dtype)
