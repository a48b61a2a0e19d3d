"""A range test: how the loss answers to a learning rate that grows from step to step."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlpkit._checks import check_float, check_int, error_message
from mlpkit.training._nonfinite import NonFiniteStep
from mlpkit.training._stepper import Stepper
from mlpkit.training.batches import BatchLike

__all__ = ["LRCurve", "range_test"]

_DIVERGED = 4.0  # times the first losses: nothing is learned beyond
_NEIGHBORS = 20  # a loss is the mean over a tenth of the steps, half on each side


@dataclass(frozen=True, slots=True, kw_only=True)
class LRCurve:
    """The loss at growing learning rates, and the rate to begin with.

    Attributes:
        lrs: Learning rate of each step, growing by a constant factor.
        losses: Smoothed loss of each step.
        suggestion: The rate where the loss falls fastest, by the slope over the logarithm of the
            rate.
    """

    lrs: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float


def range_test(stepper: Stepper, *, low: float, high: float, steps: int) -> LRCurve:
    """Make ``steps`` steps with rates from ``low`` to ``high``, until the loss has exploded.

    Raises:
        ValueError: If the loss never fell.
    """
    check_float("low", low, above=0.0)
    check_float("high", high, above=low)
    check_int("steps", steps, minimum=10)
    lrs: list[float] = []
    losses: list[float] = []
    stepper.model.train()
    for step, window in enumerate(itertools.islice(_endless(stepper), steps)):
        lr = low * (high / low) ** (step / (steps - 1))
        for group in stepper.optimizer.param_groups:
            group["lr"] = lr
        try:
            result = stepper.engine.step(step, window)
            stepper.guard.record(step, result.loss, result.grad_norm)
            stepper.guard.sync()
        except NonFiniteStep:
            break
        loss = result.loss.item()
        lrs.append(lr)
        losses.append(loss)
        if loss > _DIVERGED * max(losses[:5]):
            break
    reach = max(1, steps // _NEIGHBORS)
    smooth = [
        statistics.fmean(losses[max(0, index - reach) : index + reach + 1])
        for index in range(len(losses))
    ]
    return LRCurve(lrs=tuple(lrs), losses=tuple(smooth), suggestion=_steepest(lrs, smooth, reach))


def _endless(stepper: Stepper) -> Iterator[Sequence[BatchLike]]:
    for epoch in itertools.count():
        yield from stepper.microbatches(epoch)


def _steepest(lrs: list[float], losses: list[float], reach: int) -> float:
    """Return the rate before the minimum at which the loss falls fastest per factor of the rate."""
    lowest = min(range(len(losses)), key=losses.__getitem__, default=0)
    slopes = {
        index: losses[index + reach] - losses[index - reach]  # the rates are equally far apart
        for index in range(reach, min(lowest + 1, len(losses) - reach))
    }
    falling = {index: slope for index, slope in slopes.items() if slope < 0.0}
    if not falling:
        rule = "a range of rates in which the loss falls"
        cure = "take a lower low, or more steps"
        raise ValueError(error_message("low and high", rule, tuple(lrs[:1] + lrs[-1:]), cure))
    return lrs[min(falling, key=falling.__getitem__)]
