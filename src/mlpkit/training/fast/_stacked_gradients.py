"""Hand-written gradients of several networks with stacked parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mlpkit._protocols import BackpropagationLike
from mlpkit.training.batches import BatchLike
from mlpkit.training.fast._output_gradient import stacked_loss_and_gradient
from mlpkit.training.objectives import OutputObjective

__all__ = ["StackedGradients"]


class StackedGradients:
    """Computes losses and gradients of several networks without autograd.

    Args:
        backpropagation: Hand-written forward and backward pass of the networks.
        objective: Loss of each example.
        stacks: The stacked parameters, ``(K, ...)``.
        shared: Whether all networks have the same batches.
    """

    def __init__(
        self,
        backpropagation: BackpropagationLike,
        objective: OutputObjective,
        stacks: Sequence[nn.Parameter],
        *,
        shared: bool,
    ) -> None:
        self._backpropagation = backpropagation
        self._objective = objective
        self._stacks = stacks
        self._shared = shared

    @torch.no_grad()
    def losses_and_gradients(
        self, batch: BatchLike, weights: Tensor | None, totals: float | Tensor
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Return the loss of each example, ``(K, N)``, and the gradient of each stack.

        The gradients are those of the sum of the mean losses of all networks. The next call reuses
        their memory.

        Args:
            batch: One batch for all networks, ``(N, ...)``, or one per network, ``(K, N, ...)``.
            weights: Weight of each example, ``(K, N)`` or ``(N,)``; None means 1.
            totals: Sum of the weights, or one sum per network, ``(K,)``.
        """
        outputs = self._backpropagation.forward(batch.inputs)
        targets = batch.targets
        if self._shared:
            targets = targets.expand(len(outputs), *targets.shape)
        factors = _factors(outputs, weights, totals)
        losses, gradient = stacked_loss_and_gradient(self._objective, outputs, targets, factors)
        self._backpropagation.backward(gradient)
        return losses, [stack.grad for stack in self._stacks]


def _factors(outputs: Tensor, weights: Tensor | None, totals: float | Tensor) -> Tensor:
    """Return the factor on the loss of each example of each network, ``(K, N)``."""
    each = 1.0 if weights is None else weights  # (K, N) or (N,)
    total = totals.unsqueeze(1) if isinstance(totals, Tensor) else totals  # (K, 1) or a number
    return (outputs.new_ones(outputs.shape[:2]) * each / total).to(outputs.dtype)
