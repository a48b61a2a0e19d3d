"""Simultaneous optimizer steps of several networks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mlpkit._protocols import collect_max_norms
from mlpkit.training._config import FilledConfig
from mlpkit.training._engine import (
    StepResult,
    class_factors,
    clip_coefficient,
    nonzero,
    total_weight,
)
from mlpkit.training._nonfinite import FiniteGuard, NonFiniteStep
from mlpkit.training.batches import BatchLike
from mlpkit.training.checkpoints import RandomStream
from mlpkit.training.ensemble._joined_batches import JoinedBatch
from mlpkit.training.ensemble._network_stack import NetworkStack
from mlpkit.training.ensemble._updates import build_update
from mlpkit.training.fast import StackedGradients
from mlpkit.training.optim import Rates

__all__ = ["EnsembleStepper", "NonFiniteNetworkStep", "dropout_generator"]


class NonFiniteNetworkStep(Exception):  # noqa: N818 - converted to a NonFiniteError
    """A step of one network whose loss or gradient is not finite."""

    def __init__(self, network: int, step: NonFiniteStep) -> None:
        self.network = network
        self.step = step
        super().__init__(f"network {network}, {step}")


class EnsembleStepper:
    """Makes one optimizer step of each network.

    Args:
        stack: The networks.
        configs: The settings of each network.
        total_steps: Number of steps of the run.
        device: Device of the networks.
        shared: Whether all networks have the same batches.
        generators: The generator of each network, from which its dropout masks are drawn, or one
            whose masks all networks have.
        gradients: Hand-written gradients of the networks; None uses autograd.
    """

    def __init__(
        self,
        stack: NetworkStack,
        configs: Sequence[FilledConfig],
        *,
        total_steps: int,
        device: torch.device,
        shared: bool,
        generators: Sequence[torch.Generator],
        gradients: StackedGradients | None,
    ) -> None:
        self._stack = stack
        self._device = device
        self._shared = shared
        self._gradients = gradients
        self._guard = FiniteGuard(device, deferred=False)
        self._update = build_update(stack, configs, total_steps=total_steps)
        self._generators = generators
        weights = [config.class_weights for config in configs]
        self._class_weights = [
            None if one is None else torch.tensor(one, device=device) for one in weights
        ]
        limits = [math.inf if one.clip_grad_norm is None else one.clip_grad_norm for one in configs]
        self._max_norms = (
            torch.tensor(limits, device=device) if any(map(math.isfinite, limits)) else None
        )
        self._max_normed = [one for model in stack.models for one in collect_max_norms(model)]

    def rates(self, network: int) -> Rates:
        """Return the learning rates of one network."""
        return self._update.rates(network)

    def step(self, step: int, microbatches: Sequence[JoinedBatch]) -> list[StepResult]:
        """Make step number ``step`` of every network.

        Raises:
            NonFiniteNetworkStep: If the loss or the gradient of a network is not finite; no
                parameter of any network has changed then.
        """
        self._update.set_rates(step)
        count = len(self._stack.models)
        weights = [self._weights(joined) for joined in microbatches]
        totals = total_weight([joined.per_network[0] for joined in microbatches], weights)
        losses: Tensor | None = None
        gradients: list[Tensor | None] = [None] * len(self._stack.parameters)
        for joined, weight in zip(microbatches, weights, strict=True):
            loss, parts = self._loss_and_gradients(joined.combined, weight, nonzero(totals))
            gradients = [_sum(old, new) for old, new in zip(gradients, parts, strict=True)]
            losses = loss if losses is None else losses + loss
        assert losses is not None
        norms = _norms(gradients)
        self._check(step, losses, norms)
        if self._max_norms is not None:
            _scale(gradients, clip_coefficient(norms, self._max_norms))
        self._update.step(gradients)
        for module in self._max_normed:
            module.apply_max_norm_()
        each_total = [totals] * count if isinstance(totals, float) else list(totals.unbind())
        return list(map(StepResult, losses.unbind(), each_total, norms.unbind()))

    def _weights(self, joined: JoinedBatch) -> Tensor | None:
        """Return the weight of each example of each network, ``(K, N)``; None means 1."""
        weights = joined.combined.weights
        if all(one is None for one in self._class_weights):
            return None if weights is None else weights.expand(len(joined.per_network), -1)
        factors = torch.stack(
            [
                torch.ones(len(batch.targets), device=self._device)
                if one is None
                else class_factors(batch.targets, one)
                for batch, one in zip(joined.per_network, self._class_weights, strict=True)
            ]
        )
        return factors if weights is None else factors * weights

    def _loss_and_gradients(
        self, batch: BatchLike, weight: Tensor | None, totals: float | Tensor
    ) -> tuple[Tensor, Sequence[Tensor | None]]:
        """Return the contribution of a microbatch to the losses, ``(K,)``, and to the gradients."""
        if self._gradients is not None:
            each, parts = self._gradients.losses_and_gradients(batch, weight, totals)
            return _mean(each, weight, totals), parts
        each = self._stack.losses(batch, self._generators, shared=self._shared)
        loss = _mean(each, weight, totals)
        stacks = list(self._stack.parameters.values())
        return loss.detach(), torch.autograd.grad(loss.sum(), stacks, allow_unused=True)

    def _check(self, step: int, losses: Tensor, norms: Tensor) -> None:
        """Raise for the first network whose loss or gradient norm is not finite."""
        for network, (loss, norm) in enumerate(torch.stack([losses, norms], dim=1).tolist()):
            try:
                self._guard.check(step, loss, norm)
            except NonFiniteStep as found:
                raise NonFiniteNetworkStep(network, found) from None


def dropout_generator(seed: int) -> torch.Generator:
    """Return a generator with the state of the random stream of a run with this seed."""
    cpu = torch.device("cpu")
    generator = torch.Generator()
    generator.set_state(RandomStream(seed, cpu).state_dict()["cpu"])
    return generator


def _sum(old: Tensor | None, new: Tensor | None) -> Tensor | None:
    """Return the sum of two gradients, contiguous like the parameters.

    The fused optimizers require the memory order of the parameters.
    """
    if old is None or new is None:
        found = new if old is None else old
        return None if found is None else found.contiguous()
    return old + new.contiguous()


def _mean(each: Tensor, weight: Tensor | None, totals: float | Tensor) -> Tensor:
    """Return the weighted mean of the losses of each network, ``(K, N)`` to ``(K,)``."""
    return (each if weight is None else weight * each).sum(1) / totals


def _norms(gradients: Sequence[Tensor | None]) -> Tensor:
    """Return the gradient norm of each network, ``(K,)``; NaN does not affect other networks."""
    each = [torch.linalg.vector_norm(one.flatten(1), dim=1) for one in gradients if one is not None]
    norms: Tensor = torch.linalg.vector_norm(torch.stack(each), dim=0)  # (P, K) -> (K,)
    return norms


def _scale(gradients: Sequence[Tensor | None], factors: Tensor) -> None:
    """Multiply the gradients of each network by its factor, ``(K,)``, in place."""
    for gradient in gradients:
        if gradient is not None:
            gradient.mul_(factors.view(-1, *[1] * (gradient.ndim - 1)))
