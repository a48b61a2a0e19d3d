"""An engine with hand-written gradients."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mlpkit._devices import autocast
from mlpkit._protocols import BackpropagationLike, find_backpropagation
from mlpkit.training._engine import Engine
from mlpkit.training.batches import BatchLike
from mlpkit.training.fast._output_gradient import loss_and_gradient
from mlpkit.training.objectives import is_loss_of_outputs

__all__ = ["FastEngine"]


class FastEngine(Engine):
    """An :class:`Engine` that uses the hand-written gradients of a model that has them.

    It replaces one method of :class:`Engine`. The gradients equal those of autograd up to the
    rounding of the products. :func:`mlpkit._protocols.find_backpropagation` finds the hand-written
    gradients of a model. Steps that they do not support (several microbatches, fp16, a custom
    objective, a model with hooks) use autograd.
    """

    _backpropagation: BackpropagationLike | None = None
    _structure: _Structure | None = None  # of the model when _backpropagation was found

    def begin_epoch(self) -> None:
        """Find the hand-written gradients of the model, if it is not that of the epoch before."""
        super().begin_epoch()
        self._factors: dict[tuple[int, torch.dtype], Tensor] = {}
        if self.scaler is not None or not is_loss_of_outputs(self._objective):
            return
        structure = _Structure(self._model)
        if self._structure is None or not structure.is_same(self._structure):
            self._backpropagation = find_backpropagation(self._model)
            self._structure = structure

    def end(self) -> None:
        """Free the memory of the hand-written gradients too."""
        super().end()
        self._backpropagation = None
        self._structure = None
        self._factors = {}

    def _backward(
        self,
        microbatches: Sequence[BatchLike],
        weights: Sequence[Tensor | None],
        total: float | Tensor,
    ) -> Tensor:
        """Set the gradients of the mean loss, and return the loss."""
        fast = self._backpropagation
        # Hand-written gradients cannot be accumulated over microbatches.
        if fast is None or len(microbatches) > 1 or not fast.can_run(microbatches[0].inputs):
            return super()._backward(microbatches, weights, total)
        (batch,), (weight,) = microbatches, weights
        assert is_loss_of_outputs(self._objective), "checked in begin_epoch"
        with torch.no_grad(), autocast(self._precision, self._device):
            outputs = fast.forward(batch.inputs)
            wide = torch.promote_types(outputs.dtype, torch.float32)
            if weight is None:
                factors = self._equal_factors(len(batch.targets), wide)
            else:
                factors = (weight * (torch.ones_like(weight[:1]) / total)).to(wide)
            losses, gradient = loss_and_gradient(self._objective, outputs, batch.targets, factors)
            fast.backward(gradient)
            return self._weighted_sum(losses, batch, weight) / total

    def _equal_factors(self, size: int, dtype: torch.dtype) -> Tensor:
        """Return 1 / N for each of N examples; the tensor is reused by later steps."""
        factors = self._factors.get((size, dtype))
        if factors is None:
            one = torch.ones((), dtype=dtype, device=self._device)
            factors = (one / float(size)).expand(size)
            # A tensor created in a capture has a value only after a replay, in memory of the graph.
            if one.device.type != "cuda" or not torch.cuda.is_current_stream_capturing():
                self._factors[size, dtype] = factors
        return factors


class _Structure:
    """The modules of a model with their attributes, and the kinds of the parameters."""

    def __init__(self, model: nn.Module) -> None:
        # Objects are compared by identity; this object keeps them alive, so none is reused.
        self._objects: list[object] = []
        self._kinds: list[object] = []
        pending = [model]
        while pending:  # model.modules() takes longer than a step of a small network
            module = pending.pop()
            attributes = module.__dict__
            children = [child for child in attributes["_modules"].values() if child is not None]
            pending += children
            self._objects += (module, type(module), *children, *attributes.values())
            for parameter in attributes["_parameters"].values():
                if parameter is not None:
                    self._objects.append(parameter)
                    self._kinds += (parameter.dtype, parameter.device)

    def is_same(self, other: _Structure) -> bool:
        """Return whether both have the same objects, and parameters of the same kinds."""
        ours, theirs = self._objects, other._objects
        return (
            len(ours) == len(theirs)
            and all(map(operator.is_, ours, theirs))
            and self._kinds == other._kinds
        )
