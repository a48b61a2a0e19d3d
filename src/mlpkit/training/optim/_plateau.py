"""A learning rate that is reduced when the monitored metric stops improving."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple, TypeAlias, get_args

from mlpkit._checks import Check, check_choice, check_float, check_int, store_checked

__all__ = ["PlateauState", "ReduceLROnPlateau", "ThresholdMode"]

ThresholdMode: TypeAlias = Literal["rel", "abs"]


class PlateauState(NamedTuple):
    """State of a :class:`ReduceLROnPlateau` between two validations.

    Attributes:
        ratio: Factor on the learning rate.
        best: Best value of the monitored metric; None before the first.
        num_bad: Number of validations without an improvement since then.
        cooldown: Number of validations that are not counted yet.
    """

    ratio: float = 1.0
    best: float | None = None
    num_bad: int = 0
    cooldown: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReduceLROnPlateau:
    r"""Reduce the learning rate when the monitored metric no longer improves.

    After more than ``patience`` validations in a row without an improvement the rate is multiplied
    by ``factor``, as by :class:`torch.optim.lr_scheduler.ReduceLROnPlateau`. The rate of a step is
    the product of the base rate, the schedule and this ratio, so a warmup, for instance, still
    applies. The ratio is part of every checkpoint.

    A value :math:`v` of a metric whose best value is the smallest improves on the best one
    :math:`b`, with the threshold :math:`\tau`, if

    .. math::
        v < b - \tau \lvert b \rvert \quad \text{(rel)} \qquad \text{or} \qquad
        v < b - \tau \quad \text{(abs)},

    and accordingly with :math:`+` and :math:`>` for one whose best value is the largest. For a
    negative :math:`b`, torch's relative mode counts values that are worse by up to
    :math:`\tau \lvert b \rvert` as improvements; this one does not.

    Args:
        factor: Factor of each reduction, in (0, 1).
        patience: Number of validations without an improvement that do not reduce the rate yet, at
            least 0.
        threshold: Minimum change that counts as an improvement, at least 0; below 1 for ``"rel"``.
        threshold_mode: Whether ``threshold`` is relative to the best value.
        cooldown: Number of validations after a reduction that do not count, at least 0.
        min_ratio: The rate is not reduced below this fraction of that of the schedule, in [0, 1].

    Raises:
        ValueError: If a value is out of range.

    Example:
        >>> from mlpkit.training import ReduceLROnPlateau, TrainerConfig
        >>> config = TrainerConfig(reduce_lr_on_plateau=ReduceLROnPlateau(factor=0.5, patience=3))
        >>> TrainerConfig.from_toml(config.to_toml()) == config
        True
    """

    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    threshold_mode: ThresholdMode = "rel"
    cooldown: int = 0
    min_ratio: float = 0.0

    def __post_init__(self) -> None:
        not_negative = partial(check_int, minimum=0)
        checks: dict[str, Check[object]] = {
            "factor": partial(check_float, above=0.0, below=1.0),
            "patience": not_negative,
            "threshold": partial(check_float, minimum=0.0),
            "threshold_mode": partial(check_choice, names=get_args(ThresholdMode)),
            "cooldown": not_negative,
            "min_ratio": partial(check_float, minimum=0.0, maximum=1.0),
        }
        store_checked(self, checks, prefix="reduce_lr_on_plateau.")
        if self.threshold_mode == "rel":
            check = partial(check_float, minimum=0.0, below=1.0)
            store_checked(self, {"threshold": check}, prefix="reduce_lr_on_plateau.")

    def next_state(
        self, state: PlateauState, value: float, *, mode: Literal["min", "max"]
    ) -> PlateauState:
        """Return the state after a validation.

        Args:
            state: The state before it.
            value: The monitored metric; NaN is no improvement.
            mode: Whether its best value is the smallest or the largest.
        """
        ratio, best, num_bad, cooldown = state
        if self._is_better(value, best, mode):
            best, num_bad = value, 0
        else:
            num_bad += 1
        if cooldown:
            cooldown, num_bad = cooldown - 1, 0
        if num_bad > self.patience:
            ratio = max(ratio * self.factor, self.min_ratio)
            cooldown, num_bad = self.cooldown, 0
        return PlateauState(ratio, best, num_bad, cooldown)

    def _is_better(self, value: float, best: float | None, mode: Literal["min", "max"]) -> bool:
        if best is None:
            return not math.isnan(value)
        sign = 1.0 if mode == "max" else -1.0
        # written as in torch, whose bits this has
        if self.threshold_mode == "abs":
            limit = best + sign * self.threshold
        else:
            limit = best * (1.0 + math.copysign(sign, sign * best) * self.threshold)
        return value > limit if mode == "max" else value < limit
