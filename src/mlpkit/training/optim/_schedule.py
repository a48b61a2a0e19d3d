"""Learning rate and momentum as pure functions of the optimizer step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, TypeAlias

from mlpkit._checks import (
    Check,
    check_choice,
    check_float,
    check_int,
    error_message,
    or_none,
    store_checked,
)
from mlpkit.training.optim._options import REQUIRED, Default, fill_options, required

__all__ = [
    "AnnealStrategy",
    "MomentumKind",
    "MomentumSchedule",
    "Schedule",
    "ScheduleKind",
]

ScheduleKind: TypeAlias = Literal[
    "constant", "cosine", "exponential", "linear", "one_cycle", "step"
]
MomentumKind: TypeAlias = Literal["linear", "one_cycle"]
AnnealStrategy: TypeAlias = Literal["cos", "linear"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    r"""Factor on the base learning rate, as a pure function of the optimizer step.

    The factor increases linearly in the first ``warmup_steps`` steps, starting above zero, is 1 in
    the next ``hold_steps`` steps, and then follows the curve of ``kind``:

    .. math::
        r(t) = \begin{cases}
            (t + 1) / (w + 1) & t < w \\
            1 & w \le t < w + h \\
            c(t - w - h,\; T - w - h) & \text{else}
        \end{cases}

    with :math:`T` steps in total, :math:`w` warmup steps and :math:`h` hold steps, where
    :math:`c(s, S)` is

    ============  ==================================================================================
    constant      1
    cosine        :math:`f + (1 - f) (1 + \cos(\pi s / D)) / 2`
    linear        :math:`1 - (1 - f) s / D`
    exponential   :math:`\gamma^s`
    step          :math:`\gamma^{\lfloor s / \mathrm{step\_size} \rfloor}`
    one_cycle     up from ``initial_ratio`` to 1 at :math:`s = p S - 1`, down to ``final_ratio``
                  at :math:`s = S - 1`, by half cosines or straight lines
    ============  ==================================================================================

    :math:`D` is ``decay_steps``, or :math:`S` if that is None, :math:`f` is ``final_ratio`` and
    :math:`p` is ``pct_start``. Cosine and linear reach ``final_ratio`` at :math:`s = D`, by default
    one step *after* the last step of the run, so no step has a rate of zero. One-cycle reaches
    ``final_ratio`` at its last step, as in torch. After its end every curve keeps its last value.
    All values equal those of ``CosineAnnealingLR``, ``LinearLR``, ``ExponentialLR``, ``StepLR`` and
    ``OneCycleLR`` in :mod:`torch.optim.lr_scheduler`.

    A schedule has no state: the factor of a step depends on the number of the step only.

    Args:
        kind: The curve after the warmup and hold steps.
        warmup_steps: Number of steps of linear warmup; must be less than the steps of the run.
        hold_steps: Number of steps at the base rate between the warmup and the curve.
        decay_steps: For cosine and linear, the number of steps until ``final_ratio`` is reached;
            None means the rest of the run.
        final_ratio: For cosine, linear and one-cycle, the last value, at least 0; None means 0,
            for one-cycle 4e-6 (torch's ``1 / (div_factor * final_div_factor)``).
        initial_ratio: For one-cycle, the first value, at least 0; None means 0.04 (torch's
            ``1 / div_factor``).
        pct_start: For one-cycle, the fraction of the steps in which the rate increases, in [0, 1];
            None means 0.3.
        anneal_strategy: For one-cycle, half cosines (``"cos"``) or straight lines (``"linear"``);
            None means ``"cos"``.
        step_size: For step, the number of steps at each value; must be given.
        gamma: For step and exponential, the factor of each decay, in (0, 1]; None means 0.1 for
            step and must be given for exponential, where it applies to every step.

    Raises:
        ValueError: If a value is out of range, or ``kind`` does not have an option that is given.

    Example:
        >>> from mlpkit.training import Schedule
        >>> schedule = Schedule(kind="linear", warmup_steps=3)
        >>> [schedule.ratio(step, total_steps=8) for step in range(8)]
        [0.25, 0.5, 0.75, 1.0, 0.8, 0.6, 0.4, 0.2]

    References:
        Loshchilov and Hutter 2017, "SGDR", equation 5 (cosine).
        Smith and Topin 2018, "Super-Convergence", section 3 (one-cycle).
    """

    kind: ScheduleKind = "constant"
    warmup_steps: int = 0
    hold_steps: int = 0
    decay_steps: int | None = None
    final_ratio: float | None = None
    initial_ratio: float | None = None
    pct_start: float | None = None
    anneal_strategy: AnnealStrategy | None = None
    step_size: int | None = None
    gamma: float | None = None

    def __post_init__(self) -> None:
        store_checked(self, {"kind": partial(check_choice, names=tuple(SCHEDULE_KINDS))})
        fill_options(self, self.kind, SCHEDULE_KINDS[self.kind].options)
        checks: dict[str, Check[object]] = {
            "warmup_steps": partial(check_int, minimum=0),
            "hold_steps": partial(check_int, minimum=0),
            "decay_steps": or_none(_positive_int),
            "final_ratio": or_none(partial(check_float, minimum=0.0)),
            "initial_ratio": or_none(partial(check_float, minimum=0.0)),
            "pct_start": or_none(_fraction),
            "anneal_strategy": or_none(_anneal_strategy),
            "step_size": or_none(_positive_int),
            "gamma": or_none(partial(check_float, above=0.0, maximum=1.0)),
        }
        store_checked(self, checks)

    def ratio(self, step: int, total_steps: int) -> float:
        """Return the factor on the base learning rate.

        Args:
            step: Number of the optimizer step, from 0; after the last step the factor keeps its
                last value.
            total_steps: Number of optimizer steps of the whole run, at least 1.

        Raises:
            ValueError: If the warmup and hold steps leave no step for the curve.
        """
        check_int("step", step, minimum=0)
        check_int("total_steps", total_steps, minimum=1)
        before = self.warmup_steps + self.hold_steps
        if before and before >= total_steps:
            rule = f"less than total_steps in total ({total_steps})"
            cure = "train for more epochs or reduce the warmup"
            raise ValueError(error_message("warmup_steps and hold_steps", rule, before, cure))
        if step < self.warmup_steps:
            return (step + 1) / (self.warmup_steps + 1)
        if step < before:
            return 1.0
        return SCHEDULE_KINDS[self.kind].curve(self, step - before, total_steps - before)


@dataclass(frozen=True, slots=True, kw_only=True)
class MomentumSchedule:
    r"""Momentum as a pure function of the optimizer step.

    ``linear`` increases from ``initial`` to ``final`` in ``ramp_steps`` steps and then stays
    constant. ``one_cycle`` is the counterpart of the one-cycle learning rate: it decreases from
    ``max_momentum`` to ``base_momentum``, which it reaches at the peak of the rate, and increases
    again.

    .. math::
        m(t) = m_0 + (m_1 - m_0) \min(t / R, 1) \qquad \text{(linear)}

    For SGD and Muon the value is the momentum, for AdamW the first beta.

    Args:
        kind: The curve.
        initial: For linear, the value at the first step, in [0, 1); None means 0.5.
        final: For linear, the value from step ``ramp_steps`` on, in [0, 1); None means 0.9.
        ramp_steps: For linear, the number of steps of the ramp; None means the whole run.
        base_momentum: For one-cycle, the lowest value, in [0, 1); None means 0.85.
        max_momentum: For one-cycle, the highest value, in [0, 1); None means 0.95.
        pct_start: For one-cycle, the fraction of the steps in which the momentum decreases, in
            [0, 1], usually that of the learning rate; None means 0.3.
        anneal_strategy: For one-cycle, half cosines (``"cos"``) or straight lines (``"linear"``);
            None means ``"cos"``.

    Raises:
        ValueError: If a value is out of range, or ``kind`` does not have an option that is given.

    Example:
        >>> from mlpkit.training import MomentumSchedule
        >>> ramp = MomentumSchedule(kind="linear", initial=0.5, final=0.7, ramp_steps=2)
        >>> [round(ramp.momentum(step, total_steps=4), 6) for step in range(4)]
        [0.5, 0.6, 0.7, 0.7]

    References:
        Goodfellow et al. 2013, "Maxout Networks", released recipe (.5 to .7).
        Smith 2018, "A disciplined approach to neural network hyper-parameters", section 4.3.
    """

    kind: MomentumKind = "linear"
    initial: float | None = None
    final: float | None = None
    ramp_steps: int | None = None
    base_momentum: float | None = None
    max_momentum: float | None = None
    pct_start: float | None = None
    anneal_strategy: AnnealStrategy | None = None

    def __post_init__(self) -> None:
        store_checked(self, {"kind": partial(check_choice, names=tuple(MOMENTUM_KINDS))})
        fill_options(self, self.kind, MOMENTUM_KINDS[self.kind].options)
        momentum = or_none(partial(check_float, minimum=0.0, below=1.0))
        checks: dict[str, Check[object]] = {
            "initial": momentum,
            "final": momentum,
            "ramp_steps": or_none(_positive_int),
            "base_momentum": momentum,
            "max_momentum": momentum,
            "pct_start": or_none(_fraction),
            "anneal_strategy": or_none(_anneal_strategy),
        }
        store_checked(self, checks)

    def momentum(self, step: int, total_steps: int) -> float:
        """Return the momentum of a step.

        Args:
            step: Number of the optimizer step, from 0.
            total_steps: Number of optimizer steps of the whole run, at least 1.
        """
        check_int("step", step, minimum=0)
        check_int("total_steps", total_steps, minimum=1)
        return MOMENTUM_KINDS[self.kind].curve(self, step, total_steps)


@dataclass(frozen=True, slots=True)
class _ScheduleKind:
    curve: Callable[[Schedule, int, int], float]
    options: dict[str, Default]


@dataclass(frozen=True, slots=True)
class _MomentumKind:
    curve: Callable[[MomentumSchedule, int, int], float]
    options: dict[str, Default]


_positive_int = partial(check_int, minimum=1)
_fraction = partial(check_float, minimum=0.0, maximum=1.0)


def _anneal_strategy(argument: str, value: object) -> AnnealStrategy:
    return check_choice(argument, value, tuple(_ANNEAL))


def _cos(start: float, end: float, fraction: float) -> float:
    if fraction in (0.0, 1.0):  # the ends are exact
        return end if fraction else start
    return end + (start - end) / 2.0 * (math.cos(math.pi * fraction) + 1.0)


def _straight(start: float, end: float, fraction: float) -> float:
    if fraction in (0.0, 1.0):
        return end if fraction else start
    return start + (end - start) * fraction


_ANNEAL: Final[dict[AnnealStrategy, Callable[[float, float, float], float]]] = {
    "cos": _cos,
    "linear": _straight,
}


def _cycle(
    step: int,
    steps: int,
    *,
    values: tuple[float, float, float],
    pct_start: float | None,
    strategy: AnnealStrategy | None,
) -> float:
    """Return the value of torch's OneCycleLR with two phases; values are start, peak and end."""
    start, peak, end = values
    anneal = _ANNEAL[required(strategy)]
    at_peak = required(pct_start) * steps - 1.0
    step = min(step, steps - 1)
    if step <= at_peak:
        # With the peak at step 0 there is no first phase; torch divides by zero.
        return anneal(start, peak, step / at_peak) if at_peak > 0.0 else peak
    return anneal(peak, end, (step - at_peak) / (steps - 1 - at_peak))


def _constant(_schedule: Schedule, _step: int, _steps: int) -> float:
    return 1.0


def _cosine(schedule: Schedule, step: int, steps: int) -> float:
    decay_steps = steps if schedule.decay_steps is None else schedule.decay_steps
    return _cos(1.0, required(schedule.final_ratio), min(step / decay_steps, 1.0))


def _linear(schedule: Schedule, step: int, steps: int) -> float:
    decay_steps = steps if schedule.decay_steps is None else schedule.decay_steps
    final = required(schedule.final_ratio)
    # A single division gives exactly 1 at the first step and exact multiples of 1 / decay_steps.
    return final if step >= decay_steps else (final * step + (decay_steps - step)) / decay_steps


def _exponential(schedule: Schedule, step: int, steps: int) -> float:
    return float(required(schedule.gamma) ** min(step, steps))


def _step(schedule: Schedule, step: int, steps: int) -> float:
    return float(required(schedule.gamma) ** (min(step, steps) // required(schedule.step_size)))


def _one_cycle(schedule: Schedule, step: int, steps: int) -> float:
    return _cycle(
        step,
        steps,
        values=(required(schedule.initial_ratio), 1.0, required(schedule.final_ratio)),
        pct_start=schedule.pct_start,
        strategy=schedule.anneal_strategy,
    )


def _momentum_linear(schedule: MomentumSchedule, step: int, steps: int) -> float:
    ramp_steps = steps if schedule.ramp_steps is None else schedule.ramp_steps
    initial, final = required(schedule.initial), required(schedule.final)
    return _straight(initial, final, min(step / ramp_steps, 1.0))


def _momentum_one_cycle(schedule: MomentumSchedule, step: int, steps: int) -> float:
    highest, lowest = required(schedule.max_momentum), required(schedule.base_momentum)
    return _cycle(
        step,
        steps,
        values=(highest, lowest, highest),
        pct_start=schedule.pct_start,
        strategy=schedule.anneal_strategy,
    )


SCHEDULE_KINDS: Final[dict[ScheduleKind, _ScheduleKind]] = {
    "constant": _ScheduleKind(_constant, {}),
    "cosine": _ScheduleKind(_cosine, {"decay_steps": None, "final_ratio": 0.0}),
    "exponential": _ScheduleKind(_exponential, {"gamma": REQUIRED}),
    "linear": _ScheduleKind(_linear, {"decay_steps": None, "final_ratio": 0.0}),
    "one_cycle": _ScheduleKind(
        _one_cycle,
        {"final_ratio": 4e-6, "initial_ratio": 0.04, "pct_start": 0.3, "anneal_strategy": "cos"},
    ),
    "step": _ScheduleKind(_step, {"step_size": REQUIRED, "gamma": 0.1}),
}

MOMENTUM_KINDS: Final[dict[MomentumKind, _MomentumKind]] = {
    "linear": _MomentumKind(_momentum_linear, {"initial": 0.5, "final": 0.9, "ramp_steps": None}),
    "one_cycle": _MomentumKind(
        _momentum_one_cycle,
        {"base_momentum": 0.85, "max_momentum": 0.95, "pct_start": 0.3, "anneal_strategy": "cos"},
    ),
}
