"""Optimizer steps of one network: learning rates, microbatches, update."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import nn

from mlpkit._devices import Precision, autocast
from mlpkit.errors import NonFiniteError
from mlpkit.training._config import FilledConfig, TrainerConfig
from mlpkit.training._engine import Engine, StepEngine, StepResult
from mlpkit.training._nonfinite import FiniteGuard, NonFiniteStep, nonfinite_error
from mlpkit.training.batches import (
    BatchLike,
    BatchSource,
    lazy_source,
    microbatches,
    on_device,
)
from mlpkit.training.fast import CapturedEngine, FastEngine
from mlpkit.training.objectives import Objective
from mlpkit.training.optim import Rates, reestimate_batch_norm

__all__ = ["Stepper", "reestimate_on"]


class Stepper:
    """Makes the optimizer steps of a training run.

    Args:
        model: The model, on ``device``.
        config: The settings.
        objective: Loss of each example.
        optimizer: Updates the parameters; every group has its base rate as ``initial_lr``.
        train: Batches to train on.
        device: Device of the model.

    Attributes:
        total_steps: Number of steps of the whole run.
        guard: Detects steps that are not finite.
        rates: Learning rate and momentum of every step.
        engine: Makes one step: forward, loss, backward, check, clip, update.
    """

    def __init__(
        self,
        model: nn.Module,
        config: FilledConfig,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        *,
        train: BatchSource,
        device: torch.device,
    ) -> None:
        self.model = model
        self.config = config
        self.objective = objective
        self.optimizer = optimizer
        self.train = train
        self.device = device
        accumulation = config.gradient_accumulation_steps
        self.total_steps = -(-len(train) // accumulation) * config.epochs
        self.rates = Rates(
            optimizer, config.schedule, config.momentum_schedule, total_steps=self.total_steps
        )
        self.guard = FiniteGuard(device, deferred=_obeys_found_inf(optimizer, device, config))
        engine_type = Engine if config.gradients == "autograd" else FastEngine
        weights = config.class_weights
        self.engine: StepEngine = engine_type(
            model,
            objective,
            optimizer,
            self.guard,
            class_weights=None if weights is None else torch.tensor(weights, device=device),
            clip_grad_norm=config.clip_grad_norm,
            precision=config.precision,
            device=device,
        )
        self._batches = train
        if config.cuda_graph:
            self.engine = CapturedEngine(self.engine, optimizer, device)
            self._batches = lazy_source(train, next(model.parameters()).device)

    def microbatches(self, epoch: int, *, start: int = 0) -> Iterator[Sequence[BatchLike]]:
        """Yield the microbatches of each step of an epoch, from batch number ``start`` on."""
        size = self.config.gradient_accumulation_steps
        return microbatches(self._batches.epoch(epoch, start=start), size, self.device)

    def step(self, step: int, batches: Sequence[BatchLike]) -> StepResult:
        """Make step number ``step`` of the run.

        Raises:
            NonFiniteStep: If the loss or the gradient is not finite; no parameter has changed then.
        """
        self.rates.set(step)
        result = self.engine.step(step, batches)
        self.guard.record(step, result.loss, result.grad_norm)
        return result

    def reestimate_batch_norm(self, epoch: int) -> None:
        """Recompute the running statistics of batch norm on the batches of an epoch."""
        reestimate_on(
            self.model, self.train, epoch, precision=self.config.precision, device=self.device
        )

    def nonfinite_error(self, found: NonFiniteStep, checkpoint: Path | None) -> NonFiniteError:
        """Return the error that users see, with the epoch and the learning rate of the step."""
        return nonfinite_error(found, self.rates, epochs=self.config.epochs, checkpoint=checkpoint)

    def end(self) -> None:
        """Free the memory that only steps need."""
        self.engine.end()


def reestimate_on(
    model: nn.Module,
    train: BatchSource,
    epoch: int,
    *,
    precision: Precision,
    device: torch.device,
) -> None:
    """Recompute the running statistics of batch norm on the batches of an epoch."""
    with autocast(precision, device):
        reestimate_batch_norm(
            model, (on_device(batch, device).inputs for batch in train.epoch(epoch))
        )


def _obeys_found_inf(
    optimizer: torch.optim.Optimizer, device: torch.device, config: TrainerConfig
) -> bool:
    """Return whether the optimizer skips an update if ``found_inf`` is set on the device."""
    return (
        device.type == "cuda"
        and config.precision != "fp16"  # GradScaler uses the same flag for its own purpose
        and all(group.get("fused") for group in optimizer.param_groups)
    )
