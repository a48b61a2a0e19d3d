"""One optimizer step: forward, loss, backward, guard, clip, update."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from mlpkit._checks import error_message
from mlpkit._devices import Precision, autocast, has_autocast
from mlpkit._protocols import HasMaxNorm
from mlpkit.training._nonfinite import FiniteGuard, NonFiniteStep
from mlpkit.training.batches import BatchLike
from mlpkit.training.objectives import Objective
from mlpkit.training.optim import blocks

__all__ = ["Engine", "StepResult"]

# A loss scale this small means that the gradients overflow whatever it is.
_SMALLEST_SCALE = 2.0**-24


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
    r"""Makes optimizer steps, each on a window of batches.

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
        clip_grad_norm: Largest gradient norm; longer gradients are scaled down. None never clips.
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
        clip_grad_norm: float | None,
        precision: Precision,
        device: torch.device,
    ) -> None:
        self._model = model
        self._objective = objective
        self._optimizer = optimizer
        self._guard = guard
        self._class_weights = class_weights
        self._clip_grad_norm = clip_grad_norm
        self._precision: Precision = precision
        self._device = device
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._max_normed = (
            model if isinstance(model, HasMaxNorm) and model.max_norm is not None else None
        )
        self._has_autocast = has_autocast(precision)
        self.scaler = GradScaler(device.type) if precision == "fp16" else None
        if guard.deferred:
            optimizer.found_inf = guard.found  # type: ignore[attr-defined]  # read by the fused optimizers, as GradScaler sets it

    def begin_epoch(self) -> None:
        """Drop gradients that are left from before, for instance by a callback."""
        for parameter in self._parameters:
            parameter.grad = None

    def end(self) -> None:
        """Leave the optimizer as it was before the run."""
        if getattr(self._optimizer, "found_inf", None) is self._guard.found:
            del self._optimizer.found_inf  # type: ignore[attr-defined]  # set above

    def step(self, step: int, microbatches: Sequence[BatchLike]) -> StepResult:
        """Make one optimizer step.

        Args:
            step: Number of the step, for the report of a step that is not finite.
            microbatches: The batches whose gradients are accumulated.

        Raises:
            NonFiniteStep: If loss or gradient is not finite, before any parameter changed.
        """
        weights = [self._weights(batch) for batch in microbatches]
        total = _total(microbatches, weights)
        loss = self._backward(microbatches, weights, total)
        grad_norm = self._update(step, loss)
        if self._max_normed is not None:
            self._max_normed.apply_max_norm_()
        return StepResult(loss, total, grad_norm)

    def _backward(
        self,
        microbatches: Sequence[BatchLike],
        weights: Sequence[Tensor | None],
        total: float | Tensor,
    ) -> Tensor:
        """Accumulate the gradients of the mean loss over all microbatches, and return the loss.

        This is the method that the fast path replaces.
        """
        parts = []
        for batch, weight in zip(microbatches, weights, strict=True):
            part = self._weighted_sum(self._losses(batch), batch, weight) / total
            torch.autograd.backward(part if self.scaler is None else self.scaler.scale(part))
            parts.append(part.detach())
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum()

    def _update(self, step: int, loss: Tensor) -> Tensor:
        """Check, clip and apply the gradients, and return their norm."""
        if self.scaler is not None:
            self.scaler.unscale_(self._optimizer)
        grads = [p.grad for p in self._parameters if p.grad is not None]
        # What clips is torch's own norm, so that a step is that of clip_grad_norm_ to the bit.
        grad_norm = _norm(grads) if self._clip_grad_norm is None else nn.utils.get_total_norm(grads)
        if self.scaler is None:
            self._guard.check(step, loss, grad_norm)
        if self._clip_grad_norm is not None:
            nn.utils.clip_grads_with_norm_(self._parameters, self._clip_grad_norm, grad_norm)
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
            raise NonFiniteStep(step, loss.item(), norm)
        # Asked here and not left to the fused kernels: those of SGD, told to leave out the first
        # step, leave the momentum as uninitialized memory (torch 2.15).
        if math.isfinite(norm):
            scaler.step(self._optimizer)
        scaler.update()

    def _losses(self, batch: BatchLike) -> Tensor:
        if self._has_autocast:
            with autocast(self._precision, self._device):
                return self._objective(self._model, batch)
        return self._objective(self._model, batch)

    def _weighted_sum(self, losses: Tensor, batch: BatchLike, weights: Tensor | None) -> Tensor:
        if losses.shape != batch.targets.shape[:1]:
            raise ValueError(
                error_message(
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
