"""Learning rate range test: the loss at learning rates that grow from step to step."""

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

_DIVERGED = 4.0  # the test ends at this multiple of the largest of the first losses
_NEIGHBORS = 20  # a loss is smoothed over steps / _NEIGHBORS steps on each side


@dataclass(frozen=True, slots=True, kw_only=True)
class LRCurve:
    """The loss at increasing learning rates, and a suggested learning rate.

    Attributes:
        lrs: Learning rate of each step; it grows by a constant factor.
        losses: Smoothed loss of each step.
        suggestion: The learning rate at which the loss decreases fastest as a function of the
            logarithm of the rate.
    """

    lrs: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float


def range_test(stepper: Stepper, *, low: float, high: float, steps: int) -> LRCurve:
    """Make ``steps`` steps with rates from ``low`` to ``high``; end early if the loss diverges.

    Raises:
        ValueError: If the loss does not decrease at any rate.
    """
    low = check_float("low", low, above=0.0)
    high = check_float("high", high, above=low)
    steps = check_int("steps", steps, minimum=10)
    lrs: list[float] = []
    losses: list[float] = []
    stepper.model.train()
    stepper.engine.begin_epoch()
    for step, microbatches in enumerate(itertools.islice(_endless(stepper), steps)):
        lr = low * (high / low) ** (step / (steps - 1))
        for group in stepper.optimizer.param_groups:
            group["lr"] = lr
        try:
            result = stepper.engine.step(step, microbatches)
            stepper.guard.record(step, result.loss, result.grad_norm)
            stepper.guard.sync()
        except NonFiniteStep:
            break
        loss = result.loss.item()
        lrs.append(lr)
        losses.append(loss)
        if loss > _DIVERGED * max(losses[:5]):
            break
    stepper.end()
    width = max(1, steps // _NEIGHBORS)
    smooth = [
        statistics.fmean(losses[max(0, index - width) : index + width + 1])
        for index in range(len(losses))
    ]
    return LRCurve(lrs=tuple(lrs), losses=tuple(smooth), suggestion=_steepest(lrs, smooth, width))


def _endless(stepper: Stepper) -> Iterator[Sequence[BatchLike]]:
    """Yield the microbatches of each step, epoch after epoch."""
    for epoch in itertools.count():
        yield from stepper.microbatches(epoch)


def _steepest(lrs: list[float], losses: list[float], width: int) -> float:
    """Return the rate below that of the minimum at which the loss decreases fastest."""
    lowest = min(range(len(losses)), key=losses.__getitem__, default=0)
    slopes = {
        index: losses[index + width] - losses[index - width]  # log(lr) is equally spaced
        for index in range(width, min(lowest + 1, len(losses) - width))
    }
    falling = {index: slope for index, slope in slopes.items() if slope < 0.0}
    if not falling:
        rule = "a range of rates in which the loss decreases"
        cure = "set a lower low, or use more steps"
        raise ValueError(error_message("low and high", rule, tuple(lrs[:1] + lrs[-1:]), cure))
    return lrs[min(falling, key=falling.__getitem__)]
