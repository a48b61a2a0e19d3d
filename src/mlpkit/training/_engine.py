"""One optimizer step: forward, loss, backward, check, clip, update."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from mlpkit._checks import Unquoted, error_message
from mlpkit._devices import Precision, autocast, has_autocast
from mlpkit._protocols import collect_max_norms
from mlpkit.training._nonfinite import FiniteGuard, NonFiniteStep
from mlpkit.training._ranks import ALONE, Ranks
from mlpkit.training._repeated_evaluation import RepeatedEvaluation
from mlpkit.training.batches import BatchLike
from mlpkit.training.objectives import Objective, check_losses
from mlpkit.training.optim import EagerLBFGS, LineSearchError, blocks

__all__ = [
    "Engine",
    "StepEngine",
    "StepResult",
    "class_factors",
    "clip_coefficient",
    "nonzero",
    "total_weight",
]

# Below this loss scale, the gradients overflow at any scale.
_SMALLEST_SCALE = 2.0**-24


class StepResult(NamedTuple):
    """Result of one step; the tensors stay on the device, and reading them synchronizes.

    Attributes:
        loss: Weighted mean loss over all microbatches.
        weight: Total weight of their examples.
        grad_norm: Euclidean norm of the gradient before clipping.
    """

    loss: Tensor
    weight: float | Tensor
    grad_norm: Tensor


class StepEngine(Protocol):
    """Makes one optimizer step at a time; :class:`Engine` is the plain implementation."""

    @property
    def scaler(self) -> GradScaler | None:
        """Loss scaler; None without fp16."""
        ...

    def begin_epoch(self) -> None:
        """Prepare the steps of an epoch."""
        ...

    def step(self, step: int, microbatches: Sequence[BatchLike]) -> StepResult:
        """Make step number ``step``."""
        ...

    def end(self) -> None:
        """Free the memory that only steps need."""
        ...


class Engine:
    r"""Makes optimizer steps: forward, loss, backward, check, clip, update.

    The loss of a step is one mean over all examples of all its microbatches,

    .. math::
        L = \frac{\sum_i w_i l_i}{\sum_i w_i},

    so the accumulated gradients equal the gradient of the concatenated batch, also if the last
    microbatch is shorter.

    Args:
        model: The network, in training mode.
        objective: Loss of each example.
        optimizer: Updates the parameters.
        guard: Checks that loss and gradient are finite before the parameters change.
        class_weights: Factor on the weight of each example by its class, ``(C,)``; None means 1.
        clip_grad_norm: Maximum gradient norm; a larger gradient is scaled down. None never clips.
        precision: Precision of the forward pass; fp16 scales the loss.
        device: Device of the model.
        ranks: The processes that make each step together; for a subclass.
        sync_batch_norm: Whether batch norm uses the examples of all processes; for a subclass.
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
        ranks: Ranks = ALONE,
        sync_batch_norm: bool = False,
    ) -> None:
        self._model = model
        self._objective = objective
        self._optimizer = optimizer
        self._guard = guard
        self._class_weights = class_weights
        self._clip_grad_norm = clip_grad_norm
        self._precision: Precision = precision
        self._device = device
        self._ranks = ranks
        self._sync_batch_norm = sync_batch_norm
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._max_normed = collect_max_norms(model)
        self._has_autocast = has_autocast(precision)
        self._trainable: frozenset[int] | None = None  # ids of parameters, from the first epoch on
        self.scaler = GradScaler(device.type) if precision == "fp16" else None
        if self.scaler is not None and any(p.dtype == torch.float16 for p in self._parameters):
            rule = "'fp32' or 'bf16' for parameters in float16, whose gradients cannot be unscaled"
            raise ValueError(error_message("precision", rule, precision, "or use model.float()"))
        if guard.deferred:
            optimizer.found_inf = guard.found  # type: ignore[attr-defined]  # read by the fused optimizers, as GradScaler sets it

    def begin_epoch(self) -> None:
        """Check that every trainable parameter is updated.

        Raises:
            ValueError: If a parameter requires a gradient now, and did not when the run started.
        """
        names = {
            name: id(parameter)
            for name, parameter in self._model.named_parameters()
            if parameter.requires_grad
        }
        if self._trainable is None:
            self._trainable = frozenset(names.values())
        added = [name for name, key in names.items() if key not in self._trainable]
        if added:
            rule = "a model whose trainable parameters are those of the start of the run"
            cure = "unfreeze or replace parameters before fit, or between two fits"
            raise ValueError(
                error_message("model", rule, Unquoted(f"also {', '.join(added)}"), cure)
            )

    def _discard_gradients(self) -> None:
        """Discard gradients that are left from before, for instance by a callback."""
        for parameter in self._parameters:
            parameter.grad = None

    def end(self) -> None:
        """Remove the reference to the guard from the optimizer."""
        if getattr(self._optimizer, "found_inf", None) is self._guard.found:
            del self._optimizer.found_inf  # type: ignore[attr-defined]  # set above

    def step(self, step: int, microbatches: Sequence[BatchLike]) -> StepResult:
        """Make one optimizer step.

        Args:
            step: Number of the step, for the error message of a non-finite step.
            microbatches: The batches whose gradients are accumulated.

        Raises:
            NonFiniteStep: If the loss or the gradient is not finite; no parameter has changed then.
        """
        weights = [self._weights(batch) for batch in microbatches]
        total = self._total_weight(microbatches, weights)

        def backward() -> Tensor:
            self._discard_gradients()
            return self._backward(microbatches, weights, nonzero(total))

        if isinstance(self._optimizer, EagerLBFGS):
            loss, grad_norm = self._line_searches(step, self._optimizer, backward)
        else:
            loss = backward()
            grad_norm = self._update(step, loss)
        for module in self._max_normed:
            module.apply_max_norm_()
        return StepResult(loss, total, grad_norm)

    def _backward(
        self,
        microbatches: Sequence[BatchLike],
        weights: Sequence[Tensor | None],
        total: float | Tensor,
    ) -> Tensor:
        """Accumulate the gradients of the mean loss over all microbatches, and return the loss.

        The fast path replaces this method.
        """
        parts = []
        for batch, weight in zip(microbatches, weights, strict=True):
            part = self._weighted_sum(self._losses(batch, self._model), batch, weight) / total
            torch.autograd.backward(part if self.scaler is None else self.scaler.scale(part))
            parts.append(part.detach())
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum()

    def _update(self, step: int, loss: Tensor) -> Tensor:
        """Check, clip and apply the gradients, and return their norm."""
        if self.scaler is not None:
            self.scaler.unscale_(self._optimizer)
        grads = self._gradients()
        grad_norm = self._total_norm(grads)
        if self.scaler is None:
            self._guard.check(step, loss, grad_norm)
        if self._clip_grad_norm is not None and grads:
            torch._foreach_mul_(grads, clip_coefficient(grad_norm, self._clip_grad_norm))
        if self.scaler is None:
            self._optimizer.step()
        else:
            self._scaled_step(step, self.scaler, loss, grad_norm)
        self._discard_gradients()
        return grad_norm

    def _gradients(self) -> list[Tensor]:
        """Return the gradients of this process."""
        return [p.grad for p in self._parameters if p.grad is not None]

    def _total_norm(self, grads: list[Tensor]) -> Tensor:
        """Return the norm of all gradients together.

        With clipping, torch computes it, so the step equals clip_grad_norm_ bit for bit.
        """
        return _norm(grads) if self._clip_grad_norm is None else nn.utils.get_total_norm(grads)

    def _line_searches(
        self, step: int, optimizer: EagerLBFGS, backward: Callable[[], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Make a step of L-BFGS; return the loss before it and the norm of its gradient."""
        evaluation = RepeatedEvaluation(self._model, self._device)
        norms: list[Tensor] = []

        def closure() -> Tensor:
            loss = evaluation.evaluate(backward)
            if not norms:
                norms.append(_norm(self._gradients()))
            return loss

        try:
            with evaluation.repeated():
                loss = optimizer.step(closure)
        except LineSearchError as found:
            raise NonFiniteStep(step, found.loss, found.grad_norm) from None
        finally:
            self._discard_gradients()
        return loss, norms[0]

    def _scaled_step(self, step: int, scaler: GradScaler, loss: Tensor, grad_norm: Tensor) -> None:
        """Skip a step whose scaled gradient overflowed, as long as the scale can be reduced."""
        norm = grad_norm.item()
        if not math.isfinite(loss.item()) or scaler.get_scale() < _SMALLEST_SCALE:
            raise NonFiniteStep(step, loss.item(), norm)
        # Checked here, not by the fused kernels: if the fused SGD kernel skips the first step, the
        # momentum buffer stays uninitialized memory (torch 2.15).
        if math.isfinite(norm):
            scaler.step(self._optimizer)
        scaler.update()

    def _losses(self, batch: BatchLike, model: nn.Module) -> Tensor:
        if self._has_autocast:
            with autocast(self._precision, self._device):
                return self._objective(model, batch)
        return self._objective(model, batch)

    def _weighted_sum(self, losses: Tensor, batch: BatchLike, weights: Tensor | None) -> Tensor:
        check_losses(losses, batch.targets)
        return losses.sum() if weights is None else (weights * losses).sum()

    def _total_weight(
        self, microbatches: Sequence[BatchLike], weights: Sequence[Tensor | None]
    ) -> float | Tensor:
        """Return the sum of all weights; several processes add theirs here."""
        return total_weight(microbatches, weights)

    def _weights(self, batch: BatchLike) -> Tensor | None:
        """Return the example weights times the class weights, ``(N,)``; None means 1."""
        if self._class_weights is None:
            return batch.weights
        factors = class_factors(batch.targets, self._class_weights)
        return factors if batch.weights is None else factors * batch.weights


def class_factors(targets: Tensor, class_weights: Tensor) -> Tensor:
    """Return the class weight of each example; for a target distribution its expected value.

    Shape:
        - targets: ``(N,)`` class indices or ``(N, C)`` distributions; class_weights: ``(C,)``.
        - output: ``(N,)``.
    """
    if targets.is_floating_point():
        return targets.to(class_weights.dtype) @ class_weights
    return class_weights[targets]


def total_weight(batches: Sequence[BatchLike], weights: Sequence[Tensor | None]) -> float | Tensor:
    """Return the sum of all weights; a float if every example has weight 1.

    Args:
        batches: The microbatches of a step.
        weights: For each microbatch, the weight of each example, ``(N,)``, or of each example in
            each of K networks, ``(K, N)``; None means 1.
    """
    total: float | Tensor = 0.0
    for batch, weight in zip(batches, weights, strict=True):
        total = total + (float(batch.targets.shape[0]) if weight is None else weight.sum(-1))
    return total


def nonzero(total: float | Tensor) -> float | Tensor:
    """Return a total weight as a divisor: examples without weight contribute 0, not 0 / 0."""
    if isinstance(total, Tensor):
        return torch.where(total == 0, 1, total)
    return total


def clip_coefficient(grad_norm: Tensor, max_norm: float | Tensor) -> Tensor:
    """Return the factor that scales a gradient down to ``max_norm``, at most 1.

    The result equals that of :func:`torch.nn.utils.clip_grads_with_norm_` bit for bit.
    """
    return torch.clamp(max_norm / (grad_norm + 1e-6), max=1.0)


def _norm(grads: list[Tensor]) -> Tensor:
    """Return the Euclidean norm of all gradients together.

    On the CPU it is computed from dot products. BLAS computes them faster than torch computes a
    norm, and with a smaller error: torch sums the squares of a long vector in float32.
    """
    if all(
        grad.dtype in (torch.float32, torch.float64)
        and grad.device.type == "cpu"
        and grad.is_contiguous()
        for grad in grads
    ):
        vectors = [grad.view(-1) for grad in grads]
        return torch.stack([torch.dot(vector, vector) for vector in vectors]).sum().sqrt()
    norms: tuple[Tensor, ...] = torch._foreach_norm(blocks(grads))
    norm: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return norm
