"""One optimiser step: forward, loss, backward, guard, clip, update."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, NamedTuple, Protocol, TypeAlias, TypeGuard, runtime_checkable

import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from mlpkit._checks import sentence
from mlpkit.training._blocks import blocks
from mlpkit.training._nonfinite import BadStep, FiniteGuard
from mlpkit.training._objectives import (
    CrossEntropy,
    MeanSquaredError,
    Objective,
    OutputObjective,
)
from mlpkit.training._output_gradient import loss_and_gradient
from mlpkit.training._sources import BatchLike

__all__ = ["Engine", "MaxNormed", "Precision", "StepResult", "autocast"]

Precision: TypeAlias = Literal["fp32", "bf16", "fp16"]

_AUTOCAST: dict[Precision, torch.dtype | None] = {
    "fp32": None,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}

# A loss scale this small means that the gradients overflow whatever it is.
_SMALLEST_SCALE = 2.0**-24


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return the context that runs a forward pass in ``precision``."""
    dtype = _AUTOCAST[precision]
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)


@runtime_checkable
class MaxNormed(Protocol):
    """A model that keeps the norms of its weights bounded."""

    @property
    def max_norm(self) -> float | None: ...

    def apply_max_norm_(self) -> None:
        """Scale every weight vector that is too long back to ``max_norm``."""
        ...


class Backpropagation(Protocol):
    """A forward and a backward pass that a model has of its own, instead of autograd's."""

    def applies(self, inputs: Tensor) -> bool:
        """Return whether the passes compute what calling the model on ``inputs`` would."""
        ...

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the output, without a graph."""
        ...

    def backward(self, grad_output: Tensor) -> None:
        """Set ``.grad`` of every parameter, given the gradient of the latest output."""
        ...


@runtime_checkable
class HasBackpropagation(Protocol):
    """A model that may know a faster way to its gradients than autograd's."""

    def backpropagation(self) -> Backpropagation | None:
        """Return the passes, for the model as it is now; None leaves it to autograd."""
        ...


class StepResult(NamedTuple):
    """What one step tells; the tensors are on the device and nobody waits for them.

    Attributes:
        loss: Mean loss over the window, weighted.
        weight: Total weight of the window.
        grad_norm: Euclidean norm of the gradient before clipping.
    """

    loss: Tensor
    weight: float | Tensor
    grad_norm: Tensor


class Engine:
    r"""Makes optimiser steps, each on a window of batches.

    The loss of a step is one mean over all examples of the window, whatever its number of batches
    and however short the last one is,

    .. math::
        L = \frac{\sum_i w_i l_i}{\sum_i w_i},

    so that accumulating over a window gives the gradient of the concatenated batch.

    Args:
        model: The network, in training mode.
        objective: Loss of each example.
        optimizer: Updates the parameters.
        guard: Looks at each step before the parameters change.
        class_weights: Factor on the weight of each example by its class, ``(C,)``; None is 1.
        clip_norm: Largest gradient norm; longer gradients are scaled down. None never clips.
        precision: Forward pass under autocast, with loss scaling for fp16.
        device: Where the model is.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        guard: FiniteGuard,
        *,
        class_weights: Tensor | None,
        clip_norm: float | None,
        precision: Precision,
        device: torch.device,
    ) -> None:
        self._model = model
        self._objective = objective
        self._optimizer = optimizer
        self._guard = guard
        self._class_weights = class_weights
        self._clip_norm = clip_norm
        self._precision: Precision = precision
        self._device = device
        self._passes: Backpropagation | None = None
        self._factors: dict[tuple[int, torch.dtype], Tensor] = {}
        self._of_output = objective if _sees_the_output_alone(objective) else None
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._max_normed = (
            model if isinstance(model, MaxNormed) and model.max_norm is not None else None
        )
        self._autocast = _AUTOCAST[precision] is not None
        self.scaler = GradScaler(device.type) if precision == "fp16" else None
        if guard.deferred:
            optimizer.found_inf = guard.found  # type: ignore[attr-defined]  # read by the fused optimisers, as GradScaler sets it

    def begin_epoch(self) -> None:
        """Forget what gradients there are, and ask the model as it is now for its own passes."""
        for parameter in self._parameters:
            parameter.grad = None
        model = self._model
        self._passes = (
            model.backpropagation()
            if isinstance(model, HasBackpropagation)
            and self._of_output is not None
            and self.scaler is None
            else None
        )

    def end(self) -> None:
        """Give back the memory of the passes, and the optimiser as it was."""
        self._passes = None
        self._factors.clear()
        if getattr(self._optimizer, "found_inf", None) is self._guard.found:
            del self._optimizer.found_inf  # type: ignore[attr-defined]  # set above

    def step(self, step: int, window: Sequence[BatchLike]) -> StepResult:
        """Make step number ``step`` on the batches of a window.

        The number is only told where the step is bad.

        Raises:
            BadStep: If loss or gradient is not finite, before any parameter changed.
        """
        weights = [self._weights(batch) for batch in window]
        total = _total(window, weights)
        parts = []
        for batch, weight in zip(window, weights, strict=True):
            # Passes of the model's own set gradients, and cannot add to those of another batch.
            if len(window) == 1 and self._passes is not None and self._passes.applies(batch.inputs):
                parts.append(self._by_own_passes(self._passes, batch, weight, total))
                continue
            part = self._weighted_sum(self._losses(batch), batch, weight) / total
            torch.autograd.backward(part if self.scaler is None else self.scaler.scale(part))
            parts.append(part.detach())
        loss = parts[0] if len(parts) == 1 else torch.stack(parts).sum()
        grad_norm = self._update(step, loss)
        if self._max_normed is not None:
            self._max_normed.apply_max_norm_()
        return StepResult(loss, total, grad_norm)

    def _update(self, step: int, loss: Tensor) -> Tensor:
        """Check, clip and apply the gradients, and return their norm."""
        if self.scaler is not None:
            self.scaler.unscale_(self._optimizer)
        grads = [p.grad for p in self._parameters if p.grad is not None]
        # What clips is torch's own norm, so that a step is that of clip_grad_norm_ to the bit.
        grad_norm = _norm(grads) if self._clip_norm is None else nn.utils.get_total_norm(grads)
        if self.scaler is None:
            self._guard.look(step, loss, grad_norm)
        if self._clip_norm is not None:
            nn.utils.clip_grads_with_norm_(self._parameters, self._clip_norm, grad_norm)
        if self.scaler is None:
            self._optimizer.step()
        else:
            self._scaled_step(step, self.scaler, loss, grad_norm)
        for parameter in self._parameters:
            parameter.grad = None
        return grad_norm

    def _scaled_step(self, step: int, scaler: GradScaler, loss: Tensor, grad_norm: Tensor) -> None:
        """Leave out a step whose scaled gradient overflowed, as long as the scale can shrink."""
        norm = grad_norm.item()
        if not math.isfinite(loss.item()) or scaler.get_scale() < _SMALLEST_SCALE:
            raise BadStep(step, loss.item(), norm)
        # Asked here and not left to the fused kernels: those of SGD, told to leave out the first
        # step, leave the momentum as uninitialised memory (torch 2.15).
        if math.isfinite(norm):
            scaler.step(self._optimizer)
        scaler.update()

    def _by_own_passes(
        self,
        passes: Backpropagation,
        batch: BatchLike,
        weights: Tensor | None,
        total: float | Tensor,
    ) -> Tensor:
        """Set the gradients by the model's own passes, and return the loss."""
        objective, targets = self._of_output, batch.targets
        assert objective is not None, "else there are no passes"
        with torch.no_grad(), autocast(self._precision, self._device):
            outputs = passes.forward(batch.inputs)
            wide = torch.promote_types(outputs.dtype, torch.float32)
            if weights is None:
                factors = self._equal_factors(targets.shape[0], wide)
            else:
                factors = (weights * (torch.ones_like(weights[:1]) / total)).to(wide)
            losses, gradient = loss_and_gradient(objective, outputs, targets, factors)
            passes.backward(gradient)
            return self._weighted_sum(losses, batch, weights) / total

    def _equal_factors(self, size: int, dtype: torch.dtype) -> Tensor:
        """Return 1 / N for each of N examples; the same tensor in each step."""
        known = self._factors.get((size, dtype))
        if known is None:
            one = torch.ones((), dtype=dtype, device=self._device)
            known = (one / float(size)).expand(size)
            # Within a record it is computed at each replay only, in memory of the record.
            if one.device.type != "cuda" or not torch.cuda.is_current_stream_capturing():
                self._factors[size, dtype] = known
        return known

    def _losses(self, batch: BatchLike) -> Tensor:
        if self._autocast:
            with autocast(self._precision, self._device):
                return self._objective(self._model, batch)
        return self._objective(self._model, batch)

    def _weighted_sum(self, losses: Tensor, batch: BatchLike, weights: Tensor | None) -> Tensor:
        if losses.shape != batch.targets.shape[:1]:
            raise ValueError(
                sentence(
                    "objective",
                    f"a function that returns one loss for each example, ({len(batch.targets)},)",
                    tuple(losses.shape),
                    'leave the mean to the trainer, for instance with reduction="none"',
                )
            )
        return losses.sum() if weights is None else (weights * losses).sum()

    def _weights(self, batch: BatchLike) -> Tensor | None:
        """Return example weight times class weight; for a target distribution the expected one."""
        if self._class_weights is None:
            return batch.weights
        by_class = (
            batch.targets @ self._class_weights
            if batch.targets.is_floating_point()
            else self._class_weights[batch.targets]
        )
        return by_class if batch.weights is None else by_class * batch.weights


def _sees_the_output_alone(objective: Objective) -> TypeGuard[OutputObjective]:
    """Return whether an objective calls the model once, on the batch, and reads nothing else."""
    return type(objective) in (CrossEntropy, MeanSquaredError)


def _total(window: Sequence[BatchLike], weights: Sequence[Tensor | None]) -> float | Tensor:
    """Return the total weight of a window; a number where every example weighs 1."""
    total: float | Tensor = 0.0
    for batch, weight in zip(window, weights, strict=True):
        total = total + (float(batch.targets.shape[0]) if weight is None else weight.sum())
    return total


def _norm(grads: list[Tensor]) -> Tensor:
    """Return the Euclidean norm of all gradients together.

    On the CPU it is the root of dot products, which BLAS computes faster than torch a norm, and
    with a smaller error: torch adds up the squares of a long vector in float32.
    """
    if all(
        grad.dtype in (torch.float32, torch.float64)
        and grad.device.type == "cpu"
        and grad.is_contiguous()
        for grad in grads
    ):
        flat = [grad.view(-1) for grad in grads]
        return torch.stack([torch.dot(each, each) for each in flat]).sum().sqrt()
    norms: tuple[Tensor, ...] = torch._foreach_norm(blocks(grads))
    norm: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return norm
