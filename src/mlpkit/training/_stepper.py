"""Optimizer steps of one network: learning rates, microbatches, update."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import nn

from mlpkit._checks import Unquoted, error_message
from mlpkit._devices import Precision, autocast
from mlpkit._protocols import collect_max_norms
from mlpkit.errors import NonFiniteError
from mlpkit.training._batch_norm_batches import check_known_sizes, explain_batch_of_one
from mlpkit.training._config import FilledConfig, TrainerConfig
from mlpkit.training._engine import Engine, StepEngine, StepResult
from mlpkit.training._nonfinite import FiniteGuard, NonFiniteStep, nonfinite_error
from mlpkit.training._ranks import ALONE, Ranks
from mlpkit.training._tracker import TrainState
from mlpkit.training.batches import (
    BatchLike,
    BatchSource,
    can_be_read_again,
    lazy_source,
    microbatches,
    on_device,
)
from mlpkit.training.distributed import (
    DistributedEngine,
    ReplicatedEngine,
    ShardedEngine,
    rank_batches,
)
from mlpkit.training.fast import CapturedEngine, FastEngine
from mlpkit.training.objectives import Objective, is_loss_of_outputs, unmixed
from mlpkit.training.optim import EagerLBFGS, Rates, reestimate_batch_norm

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
        ranks: The processes that make each step together.

    Raises:
        ValueError: If the batches do not suit the optimizer, or batch norm.

    Attributes:
        steps_per_epoch: Number of steps of an epoch.
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
        ranks: Ranks = ALONE,
    ) -> None:
        self.model = model
        self.config = config
        self.objective = objective
        self.optimizer = optimizer
        self.train = train
        self.device = device
        check_known_sizes(model, train, ranks=ALONE if config.sync_batch_norm else ranks)
        accumulation = config.gradient_accumulation_steps
        self.steps_per_epoch = -(-len(train) // accumulation)
        if isinstance(optimizer, EagerLBFGS):
            _check_full_batch(model, config, num_batches=len(train))
        self.rates = Rates(optimizer, config.schedule, config.momentum_schedule, total_steps=1)
        self.continue_from(TrainState())  # sets the number of steps
        is_sharded = config.sharding and ranks.size > 1
        # the kernels of sharded parameters do not take the flag
        is_deferred = not is_sharded and _obeys_found_inf(optimizer, device, config)
        self.guard = FiniteGuard(device, deferred=is_deferred)
        engine_type: type[Engine] = FastEngine
        if ranks.size > 1:
            calls_once = is_loss_of_outputs(unmixed(objective))
            engine_type = ReplicatedEngine if calls_once else DistributedEngine
            engine_type = ShardedEngine if is_sharded else engine_type
        elif config.gradients == "autograd":
            engine_type = Engine
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
            ranks=ranks,
            sync_batch_norm=config.sync_batch_norm,
        )
        self._batches = rank_batches(train, ranks)
        if config.cuda_graph:
            self.engine = CapturedEngine(self.engine, optimizer, device)
            self._batches = lazy_source(train, next(model.parameters()).device)

    @property
    def total_steps(self) -> int:
        """Number of steps of the whole run."""
        return self.rates.total_steps

    def continue_from(self, state: TrainState) -> None:
        """Set the number of steps of the whole run, and the factor on its learning rates.

        The former is that of the steps made and those to come: epochs before a warm start may have
        had another number of steps.
        """
        first_step = state.step - -(-state.batch // self.config.gradient_accumulation_steps)
        self._start = state.epoch, first_step
        total = max(1, first_step + (self.config.epochs - state.epoch) * self.steps_per_epoch)
        if self.config.max_steps is not None:
            total = min(total, self.config.max_steps)
        self.rates.total_steps, self.rates.factor = total, state.lr_ratio

    def microbatches(
        self, epoch: int, *, start: int = 0, limit: int | None = None
    ) -> Iterator[Sequence[BatchLike]]:
        """Yield the microbatches of each step of an epoch, from batch number ``start`` on.

        At most ``limit`` steps are yielded; no batch after them is read.
        """
        size = self.config.gradient_accumulation_steps
        batches = self._batches.epoch(epoch, start=start)
        return itertools.islice(microbatches(batches, size, self.device), limit)

    def step(self, step: int, batches: Sequence[BatchLike]) -> StepResult:
        """Make step number ``step`` of the run.

        Raises:
            NonFiniteStep: If the loss or the gradient is not finite; no parameter has changed then.
            ValueError: If the model has batch norm and a batch has one example.
        """
        self.rates.set(step)
        try:
            result = self.engine.step(step, batches)
        except ValueError as error:
            shown = explain_batch_of_one(self.model, batches, error)
            if shown is error:
                raise
            raise shown from error
        self.guard.record(step, result.loss, result.grad_norm)
        return result

    def reestimate_batch_norm(self, epoch: int) -> None:
        """Recompute the running statistics of batch norm on the batches of an epoch.

        The batches of a stream cannot be read again: the averaged statistics stay.
        """
        if not can_be_read_again(self.train):
            return
        reestimate_on(
            self.model, self.train, epoch, precision=self.config.precision, device=self.device
        )

    def nonfinite_error(self, found: NonFiniteStep, checkpoint: Path | None) -> NonFiniteError:
        """Return the error that users see, with the epoch and the learning rate of the step."""
        first_epoch, first_step = self._start
        epoch = first_epoch + (found.step - first_step) // self.steps_per_epoch
        return nonfinite_error(
            found,
            self.rates,
            epoch=epoch,
            checkpoint=checkpoint,
            has_line_search=isinstance(self.optimizer, EagerLBFGS),
        )

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


def _check_full_batch(model: nn.Module, config: FilledConfig, *, num_batches: int) -> None:
    """Raise if a step is not made from all examples, or changes the parameters afterwards."""
    if num_batches > config.gradient_accumulation_steps:
        rule = "all examples for optimizer 'lbfgs', which makes one step per epoch"
        got = Unquoted(f"{num_batches} batches of {config.batch_size}")
        cure = f"leave it None, or set gradient_accumulation_steps={num_batches}"
        raise ValueError(error_message("batch_size", rule, got, cure))
    if collect_max_norms(model):
        rule = "a model without max_norm for optimizer 'lbfgs'"
        cure = "use weight_decay, or another optimizer"
        raise ValueError(error_message("model", rule, type(model).__name__, cure))


def _obeys_found_inf(
    optimizer: torch.optim.Optimizer, device: torch.device, config: TrainerConfig
) -> bool:
    """Return whether the optimizer skips an update if ``found_inf`` is set on the device."""
    return (
        device.type == "cuda"
        and config.precision != "fp16"  # GradScaler uses the same flag for its own purpose
        and all(group.get("fused") for group in optimizer.param_groups)
    )
