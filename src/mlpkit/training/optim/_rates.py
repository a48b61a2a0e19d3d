"""Learning rate and momentum of every step of a run."""

from __future__ import annotations

from torch.optim import Optimizer

from mlpkit.training.optim._optimizers import set_lr, set_momentum
from mlpkit.training.optim._schedule import MomentumSchedule, Schedule

__all__ = ["Rates"]


class Rates:
    """Sets the learning rate and the momentum of an optimizer according to schedules.

    Args:
        optimizer: An optimizer whose groups have their base learning rate as ``initial_lr``.
        schedule: Factor on the base learning rates over the steps.
        momentum_schedule: Momentum over the steps; None keeps the momentum of the optimizer.
        total_steps: Number of steps of the run.

    Attributes:
        total_steps: Number of steps of the run.
        factor: Factor on all learning rates besides the schedule.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedule: Schedule,
        momentum_schedule: MomentumSchedule | None,
        *,
        total_steps: int,
    ) -> None:
        self.total_steps = total_steps
        self.factor = 1.0
        self._optimizer = optimizer
        self._schedule = schedule
        self._momentum_schedule = momentum_schedule

    def set(self, step: int) -> None:
        """Set the learning rate and the momentum of a step."""
        set_lr(self._optimizer, self._schedule.ratio(step, self.total_steps) * self.factor)
        if self._momentum_schedule is not None:
            momentum = self._momentum_schedule.momentum(step, self.total_steps)
            set_momentum(self._optimizer, momentum)

    def lr(self, step: int) -> float:
        """Return the learning rate of the first group at a step."""
        base = float(self._optimizer.param_groups[0]["initial_lr"])
        return base * (self._schedule.ratio(step, self.total_steps) * self.factor)

    def differ(self, other_total: int, *, steps_done: int) -> bool:
        """Return whether the rates of a completed step differ from those of ``other_total`` steps.

        At most about 1,000 evenly spaced steps are compared.
        """
        every = max(1, steps_done // 1000)
        steps = (*range(0, steps_done + 1, every), steps_done)
        return any(self._at(one, other_total) != self._at(one, self.total_steps) for one in steps)

    def _at(self, step: int, total_steps: int) -> tuple[float, float | None]:
        schedule = self._momentum_schedule
        momentum = None if schedule is None else schedule.momentum(step, total_steps)
        return self._schedule.ratio(step, total_steps), momentum
