"""Losses and gradients of many networks by passes of their own instead of autograd's graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from mlpkit.training._objectives import OutputObjective
from mlpkit.training._output_gradient import stacked_loss_and_gradient
from mlpkit.training._sources import BatchLike

__all__ = ["HasStackedBackpropagation", "StackedBackpropagation", "StackedPasses"]


class StackedBackpropagation(Protocol):
    """A forward and a backward pass of many networks at once."""

    def applies(self, inputs: Tensor) -> bool:
        """Return whether the passes compute what calling the networks on ``inputs`` would."""
        ...

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs, ``(K, N, ...)``, without a graph."""
        ...

    def backward(self, grad_output: Tensor) -> None:
        """Set ``.grad`` of every stack, given the gradient of the latest outputs."""
        ...


@runtime_checkable
class HasStackedBackpropagation(Protocol):
    """A model that may know a faster way to the gradients of many like it than autograd's."""

    def stacked_backpropagation(
        self, stacks: Mapping[nn.Parameter, nn.Parameter], *, shared: bool
    ) -> StackedBackpropagation | None:
        """Return the passes, given the stack of each of its parameters; None leaves it to autograd.

        Args:
            stacks: The parameters of all networks, by those of this one.
            shared: Whether all networks have one input.
        """
        ...


class StackedPasses:
    """Makes the losses and gradients of a step of many networks without a graph.

    Args:
        passes: Go through the networks.
        objective: Loss of each example.
        stacks: The parameters of all networks.
        shared: Whether all networks have one batch.
    """

    def __init__(
        self,
        passes: StackedBackpropagation,
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
