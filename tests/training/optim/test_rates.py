"""Rates and momentum of every step are torch's, and those of the schedules."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer, lr_scheduler

from mlpkit.training import MomentumSchedule, Schedule
from mlpkit.training.optim import Rates, set_initial_lr

TOTAL = 20


def two_groups(kind: type[Optimizer]) -> Optimizer:
    """Return an optimizer of two groups whose base rates differ."""
    groups = [
        {"params": [nn.Parameter(torch.zeros(2))], "lr": lr, "initial_lr": lr} for lr in (0.1, 0.01)
    ]
    return SGD(groups, momentum=0.9) if kind is SGD else AdamW(groups)


ONE_CYCLE = (
    Schedule(kind="one_cycle"),
    MomentumSchedule(kind="one_cycle"),
    lambda optimizer: lr_scheduler.OneCycleLR(optimizer, [0.1, 0.01], total_steps=TOTAL),
)
COSINE = (
    Schedule(kind="cosine"),
    None,
    lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, TOTAL),
)
STEP = (
    Schedule(kind="step", step_size=7),
    None,
    lambda optimizer: lr_scheduler.StepLR(optimizer, 7),
)
CONSTANT = (
    Schedule(),
    None,
    lambda optimizer: lr_scheduler.ConstantLR(optimizer, factor=1.0),
)


@pytest.mark.parametrize("kind", [SGD, AdamW])
@pytest.mark.parametrize(
    ("schedule", "momentum", "build"),
    [ONE_CYCLE, COSINE, STEP, CONSTANT],
    ids=["one_cycle", "cosine", "step", "constant"],
)
def test_every_step_has_the_rates_of_torch(
    kind: type[Optimizer],
    schedule: Schedule,
    momentum: MomentumSchedule | None,
    build: Callable[[Optimizer], lr_scheduler.LRScheduler],
) -> None:
    """In groups with different base rates; the momentum stays where none is scheduled."""
    optimizer, other = two_groups(kind), two_groups(kind)
    rates = Rates(optimizer, schedule, momentum, total_steps=TOTAL)
    scheduler = build(other)
    for step in range(TOTAL):
        rates.set(step)
        for group, expected in zip(optimizer.param_groups, other.param_groups, strict=True):
            assert group["lr"] == pytest.approx(expected["lr"], rel=1e-9, abs=1e-15)
            name = "momentum" if kind is SGD else "betas"
            assert group[name] == pytest.approx(expected[name], rel=1e-9)
        assert rates.lr(step) == optimizer.param_groups[0]["lr"]
        other.step()
        if step + 1 < TOTAL:
            scheduler.step()


def test_a_rate_needs_no_earlier_step() -> None:
    """The rates of a step are a function of its number, as a resumed run needs it."""
    optimizer = two_groups(SGD)
    rates = Rates(optimizer, *ONE_CYCLE[:2], total_steps=TOTAL)
    rates.set(13)
    found = [(group["lr"], group["momentum"]) for group in optimizer.param_groups]
    for step in (19, 0, 7, 13):
        rates.set(step)
    assert [(group["lr"], group["momentum"]) for group in optimizer.param_groups] == found
    assert rates.lr(0) == 0.1 * ONE_CYCLE[0].ratio(0, TOTAL)


def test_an_optimizer_built_by_hand_keeps_its_rate_as_the_base() -> None:
    optimizer = SGD([nn.Parameter(torch.zeros(2))], lr=0.5)
    set_initial_lr(optimizer)
    rates = Rates(optimizer, Schedule(kind="linear"), None, total_steps=4)
    found = []
    for step in range(4):
        rates.set(step)
        found.append(optimizer.param_groups[0]["lr"])
    assert found == [0.5, 0.375, 0.25, 0.125]


WARMUP = Schedule(kind="cosine", warmup_steps=6)
MOMENTUM = MomentumSchedule(kind="linear")


@pytest.mark.parametrize("other_total", [TOTAL - 5, TOTAL, TOTAL + 1, 3 * TOTAL])
@pytest.mark.parametrize("steps_done", [0, 1, 5, 6, 12])
@pytest.mark.parametrize(
    ("schedule", "momentum"),
    [
        (Schedule(), None),
        (Schedule(), MOMENTUM),
        (Schedule(kind="step", step_size=3), None),
        (Schedule(kind="one_cycle"), None),
        (WARMUP, None),
        (WARMUP, MOMENTUM),
    ],
    ids=["constant", "momentum", "step", "one_cycle", "warmup", "both"],
)
def test_a_difference_is_that_of_a_loop(
    schedule: Schedule, momentum: MomentumSchedule | None, steps_done: int, other_total: int
) -> None:
    """Oracle: compare every completed step, and the next one, under both numbers of steps."""

    def at(step: int, total: int) -> tuple[float, float | None]:
        found = None if momentum is None else momentum.momentum(step, total)
        return schedule.ratio(step, total), found

    expected = any(at(step, TOTAL) != at(step, other_total) for step in range(steps_done + 1))
    rates = Rates(two_groups(SGD), schedule, momentum, total_steps=TOTAL)
    assert rates.differ(other_total, steps_done=steps_done) is expected


def test_a_difference_is_found_in_a_long_run() -> None:
    """Not every step is compared, but always the last one: the decay begins after 9,000 steps."""
    schedule = Schedule(kind="linear", warmup_steps=10, hold_steps=8_990)
    rates = Rates(two_groups(SGD), schedule, None, total_steps=10_000)
    found = {done: rates.differ(20_000, steps_done=done) for done in (9_000, 9_001, 9_500)}
    assert found == {9_000: False, 9_001: True, 9_500: True}
