"""Engine steps whose gradients come from a model's hand-written passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

import torch
from torch import Tensor

from mlpkit._devices import autocast
from mlpkit._protocols import Backpropagation, find_backpropagation
from mlpkit.training._engine import Engine
from mlpkit.training.batches import BatchLike
from mlpkit.training.fast._output_gradient import loss_and_gradient
from mlpkit.training.objectives import (
    CrossEntropy,
    MeanSquaredError,
    Objective,
    OutputObjective,
)

__all__ = ["FastEngine"]


class FastEngine(Engine):
    """An :class:`Engine` that takes gradients without autograd's graph where the model has passes.

    It replaces one method of the plain engine. The gradients are autograd's up to the rounding of
    the products; see :func:`mlpkit._protocols.find_backpropagation` for who offers passes. Steps
    that the passes cannot make (several microbatches, fp16, another objective, a model with hooks)
    are left to the plain engine.
    """

    _passes: Backpropagation | None = None

    def begin_epoch(self) -> None:
        """Drop old gradients, and ask for the passes of the model as it is now."""
        super().begin_epoch()
        self._factors: dict[tuple[int, torch.dtype], Tensor] = {}
        can_replace = self.scaler is None and _is_loss_of_outputs(self._objective)
        self._passes = find_backpropagation(self._model) if can_replace else None

    def end(self) -> None:
        """Leave the optimizer as it was before the run, and free the memory of the passes."""
        super().end()
        self._passes = None
        self._factors = {}

    def _backward(
        self,
        microbatches: Sequence[BatchLike],
        weights: Sequence[Tensor | None],
        total: float | Tensor,
    ) -> Tensor:
        """Set the gradients of the mean loss, and return the loss."""
        passes = self._passes
        # The passes set gradients, and cannot add to those of another microbatch.
        if passes is None or len(microbatches) > 1 or not passes.can_run(microbatches[0].inputs):
            return super()._backward(microbatches, weights, total)
        (batch,), (weight,) = microbatches, weights
        assert _is_loss_of_outputs(self._objective), "else there are no passes"
        with torch.no_grad(), autocast(self._precision, self._device):
            outputs = passes.forward(batch.inputs)
            wide = torch.promote_types(outputs.dtype, torch.float32)
            if weight is None:
                factors = self._equal_factors(len(batch.targets), wide)
            else:
                factors = (weight * (torch.ones_like(weight[:1]) / total)).to(wide)
            losses, gradient = loss_and_gradient(self._objective, outputs, batch.targets, factors)
            passes.backward(gradient)
            return self._weighted_sum(losses, batch, weight) / total

    def _equal_factors(self, size: int, dtype: torch.dtype) -> Tensor:
        """Return 1 / N for each of N examples; the same tensor in each step."""
        known = self._factors.get((size, dtype))
        if known is None:
            one = torch.ones((), dtype=dtype, device=self._device)
            known = (one / float(size)).expand(size)
            # Within a capture it is computed at each replay only, in memory of the graph.
            if one.device.type != "cuda" or not torch.cuda.is_current_stream_capturing():
                self._factors[size, dtype] = known
        return known


def _is_loss_of_outputs(objective: Objective) -> TypeGuard[OutputObjective]:
    """Return whether an objective calls the model once, on the batch, and reads nothing else."""
    return type(objective) in (CrossEntropy, MeanSquaredError)
