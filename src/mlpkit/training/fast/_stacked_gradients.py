"""Losses and gradients of many networks by passes of their own instead of autograd's graph."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mlpkit._protocols import Backpropagation
from mlpkit.training.batches import BatchLike
from mlpkit.training.fast._output_gradient import stacked_loss_and_gradient
from mlpkit.training.objectives import OutputObjective

__all__ = ["StackedGradients"]


class StackedGradients:
    """Makes the losses and gradients of a step of many networks without a graph.

    Args:
        passes: Go through the networks.
        objective: Loss of each example.
        stacks: The parameters of all networks.
        shared: Whether all networks have one batch.
    """

    def __init__(
        self,
        passes: Backpropagation,
        objective: OutputObjective,
        stacks: Sequence[nn.Parameter],
        *,
        shared: bool,
    ) -> None:
        self._passes = passes
        self._objective = objective
        self._stacks = stacks
        self._shared = shared

    @torch.no_grad()
    def losses_and_gradients(
        self, batch: BatchLike, weights: Tensor | None, totals: float | Tensor
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Return the loss of each example, ``(K, N)``, and the gradient of each stack.

        The gradients are those of the sum of all networks' mean losses. Their memory is used again
        by the next call.

        Args:
            batch: One batch for all networks, ``(N, ...)``, or one for each, ``(K, N, ...)``.
            weights: The weight of each example, ``(K, N)`` or ``(N,)``; None is 1.
            totals: Their sum; for each network where they differ, ``(K,)``.
        """
        outputs = self._passes.forward(batch.inputs)
        targets = batch.targets
        if self._shared:
            targets = targets.expand(len(outputs), *targets.shape)
        factors = _factors(outputs, weights, totals)
        losses, gradient = stacked_loss_and_gradient(self._objective, outputs, targets, factors)
        self._passes.backward(gradient)
        return losses, [stack.grad for stack in self._stacks]


def _factors(outputs: Tensor, weights: Tensor | None, totals: float | Tensor) -> Tensor:
    """Return the factor on the loss of each example of each network, ``(K, N)``."""
    each = 1.0 if weights is None else weights  # (K, N) or (N,)
    total = totals.unsqueeze(1) if isinstance(totals, Tensor) else totals  # (K, 1) or a number
    return (outputs.new_ones(outputs.shape[:2]) * each / total).to(outputs.dtype)
