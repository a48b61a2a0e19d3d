"""Rates reduced on a plateau against torch's ReduceLROnPlateau."""

from __future__ import annotations

import math
import random

import pytest
import torch
from torch.optim import SGD, lr_scheduler

from mlpkit.training import MonitorMode, ReduceLROnPlateau, ThresholdMode
from mlpkit.training.optim._plateau import PlateauState


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
def test_ratios_are_those_of_torch(mode: MonitorMode, threshold_mode: ThresholdMode) -> None:
    """Over random walks with plateaus, equal values and values that are not a number."""
    numbers = random.Random(0)  # noqa: S311
    reductions = 0
    for _ in range(100):
        plateau = ReduceLROnPlateau(
            factor=numbers.choice((0.1, 0.5, 0.9)),
            patience=numbers.randrange(4),
            threshold=numbers.choice((0.0, 1e-4, 0.1)),
            threshold_mode=threshold_mode,
            cooldown=numbers.randrange(3),
            min_ratio=numbers.choice((0.0, 0.05)),
        )
        optimizer = SGD([torch.zeros(1)], lr=1.0)
        scheduler = lr_scheduler.ReduceLROnPlateau(
            optimizer,
            mode=mode,
            factor=plateau.factor,
            patience=plateau.patience,
            threshold=plateau.threshold,
            threshold_mode=plateau.threshold_mode,
            cooldown=plateau.cooldown,
            min_lr=plateau.min_ratio,
            eps=0.0,
        )
        state, value = PlateauState(), 1.0
        for _ in range(40):
            value *= numbers.choice((1.0, 0.95, 1.05, 0.99999, 1.2))
            shown = numbers.choice((value, value, value, math.nan))
            scheduler.step(shown)
            state = plateau.next_state(state, shown, mode=mode)
            assert state.ratio == optimizer.param_groups[0]["lr"]
        reductions += state.ratio < 1.0
    assert reductions > 50


def test_a_negative_value_that_is_no_better_is_no_improvement() -> None:
    """Unlike in torch, where -1 improves on -1 by a relative threshold."""
    plateau = ReduceLROnPlateau(patience=0, threshold=0.1)
    first = plateau.next_state(PlateauState(), -1.0, mode="min")
    for value, ratio in ((-1.0, 0.1), (-1.05, 0.1), (-1.2, 1.0)):
        assert plateau.next_state(first, value, mode="min").ratio == ratio
    first = plateau.next_state(PlateauState(), -1.0, mode="max")
    for value, ratio in ((-1.0, 0.1), (-0.95, 0.1), (-0.8, 1.0)):
        assert plateau.next_state(first, value, mode="max").ratio == ratio


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"factor": 1.0}, r"reduce_lr_on_plateau\.factor must be .* less than 1, got 1\.0"),
        (
            {"patience": -1},
            r"reduce_lr_on_plateau\.patience must be a non-negative integer, got -1",
        ),
        ({"threshold": 1.0}, r"reduce_lr_on_plateau\.threshold must be .* less than 1, got 1\.0"),
        ({"min_ratio": 2.0}, r"reduce_lr_on_plateau\.min_ratio must be .* at most 1, got 2\.0"),
    ],
)
def test_a_wrong_value_is_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ReduceLROnPlateau(**arguments)  # type: ignore[arg-type]  # one of them
    assert ReduceLROnPlateau(threshold=1.0, threshold_mode="abs").threshold == 1.0
