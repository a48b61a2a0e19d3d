"""Schedules against torch's own, step by step."""

from __future__ import annotations

import dataclasses
import math
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD, Optimizer, lr_scheduler

from mlpkit import _serialization
from mlpkit.errors import ConfigError
from mlpkit.training import AnnealStrategy, MomentumKind, MomentumSchedule, Schedule, ScheduleKind
from mlpkit.training.optim._schedule import MOMENTUM_KINDS, SCHEDULE_KINDS

LENGTHS = [1, 2, 3, 5, 10, 37, 100]

ONE_OF_EACH = [
    Schedule(),
    Schedule(kind="cosine"),
    Schedule(kind="exponential", gamma=0.9),
    Schedule(kind="linear", final_ratio=0.25),
    Schedule(kind="one_cycle"),
    Schedule(kind="step", step_size=3),
]


def sgd(lr: float = 1.0) -> Optimizer:
    return SGD([nn.Parameter(torch.zeros(1))], lr=lr, momentum=0.9)


def torch_values(scheduler: lr_scheduler.LRScheduler, num_steps: int) -> list[float]:
    """The learning rate that each step would be made with."""
    values = []
    for _ in range(num_steps):
        values.append(float(scheduler.optimizer.param_groups[0]["lr"]))
        scheduler.optimizer.step()
        scheduler.step()
    return values


def own_values(schedule: Schedule, total_steps: int) -> list[float]:
    return [schedule.ratio(step, total_steps) for step in range(total_steps)]


@pytest.mark.parametrize("total_steps", LENGTHS)
class TestAgainstTorch:
    def test_cosine(self, total_steps: int) -> None:
        scheduler = lr_scheduler.CosineAnnealingLR(sgd(), T_max=total_steps, eta_min=0.1)
        expected = torch_values(scheduler, total_steps)
        actual = own_values(Schedule(kind="cosine", final_ratio=0.1), total_steps)
        assert actual == pytest.approx(expected, rel=1e-12, abs=1e-14)

    def test_linear(self, total_steps: int) -> None:
        scheduler = lr_scheduler.LinearLR(
            sgd(), start_factor=1.0, end_factor=0.05, total_iters=total_steps
        )
        expected = torch_values(scheduler, total_steps)
        actual = own_values(Schedule(kind="linear", final_ratio=0.05), total_steps)
        assert actual == pytest.approx(expected, rel=1e-11)

    def test_exponential(self, total_steps: int) -> None:
        expected = torch_values(lr_scheduler.ExponentialLR(sgd(), gamma=0.93), total_steps)
        actual = own_values(Schedule(kind="exponential", gamma=0.93), total_steps)
        assert actual == pytest.approx(expected, rel=1e-11)

    @pytest.mark.parametrize("step_size", [1, 2, 7, 1000])
    def test_step(self, total_steps: int, step_size: int) -> None:
        scheduler = lr_scheduler.StepLR(sgd(), step_size=step_size, gamma=0.3)
        expected = torch_values(scheduler, total_steps)
        actual = own_values(Schedule(kind="step", step_size=step_size, gamma=0.3), total_steps)
        assert actual == pytest.approx(expected, rel=1e-11)

    @pytest.mark.parametrize("strategy", get_args(AnnealStrategy))
    @pytest.mark.parametrize("pct_start", [0.0, 0.23, 0.3, 0.51, 0.99])
    def test_one_cycle_in_rate_and_momentum(
        self, total_steps: int, pct_start: float, strategy: AnnealStrategy
    ) -> None:
        scheduler = lr_scheduler.OneCycleLR(
            sgd(),
            max_lr=1.0,
            total_steps=total_steps,
            pct_start=pct_start,
            anneal_strategy=strategy,
        )
        schedule = Schedule(kind="one_cycle", pct_start=pct_start, anneal_strategy=strategy)
        momenta = MomentumSchedule(kind="one_cycle", pct_start=pct_start, anneal_strategy=strategy)
        for step in range(total_steps):
            group = scheduler.optimizer.param_groups[0]
            assert schedule.ratio(step, total_steps) == pytest.approx(group["lr"], rel=1e-11)
            momentum = momenta.momentum(step, total_steps)
            assert momentum == pytest.approx(group["momentum"], rel=1e-12)
            scheduler.optimizer.step()
            if step < total_steps - 1:
                scheduler.step()

    @pytest.mark.parametrize("schedule", ONE_OF_EACH, ids=lambda schedule: schedule.kind)
    def test_warm_up_and_holding_before_any_curve(
        self, schedule: Schedule, total_steps: int
    ) -> None:
        """LinearLR for the warm-up, then the curve alone over the steps that are left."""
        warmup, hold = 4, 2
        whole = total_steps + warmup + hold
        delayed = dataclasses.replace(schedule, warmup_steps=warmup, hold_steps=hold)
        linear = lr_scheduler.LinearLR(
            sgd(), start_factor=1 / (warmup + 1), end_factor=1.0, total_iters=warmup
        )
        expected = [*torch_values(linear, warmup), *[1.0] * hold]
        expected += own_values(schedule, total_steps)
        assert own_values(delayed, whole) == pytest.approx(expected, rel=1e-12)


def test_one_cycle_with_its_peak_at_the_first_step() -> None:
    """There torch divides by zero."""
    schedule = Schedule(kind="one_cycle", pct_start=0.1)
    momenta = MomentumSchedule(kind="one_cycle", pct_start=0.1)
    assert schedule.ratio(0, 10) == 1.0
    assert schedule.ratio(9, 10) == 4e-6
    assert momenta.momentum(0, 10) == 0.85
    only_up = Schedule(kind="one_cycle", pct_start=1.0)
    assert [only_up.ratio(step, 5) for step in (0, 4, 5)] == [0.04, 1.0, 1.0]


@pytest.mark.parametrize("total_steps", LENGTHS)
def test_end_points_are_exact(total_steps: int) -> None:
    """Cosine and linear end one past the last step, one-cycle in the last step."""
    for kind in ("cosine", "linear"):
        schedule = Schedule(kind=kind, final_ratio=0.1)
        assert schedule.ratio(0, total_steps) == 1.0
        assert schedule.ratio(total_steps, total_steps) == 0.1
        assert schedule.ratio(10 * total_steps, total_steps) == 0.1
        assert Schedule(kind=kind).ratio(total_steps, total_steps) == 0.0
        assert Schedule(kind=kind).ratio(total_steps - 1, total_steps) > 0.0
    one_cycle = Schedule(kind="one_cycle", final_ratio=0.125)
    assert one_cycle.ratio(total_steps - 1, total_steps) == 0.125
    assert one_cycle.ratio(total_steps, total_steps) == 0.125


def test_one_step_and_two_steps() -> None:
    """A training of one step is the first step of each curve, for one-cycle the last."""
    for schedule in ONE_OF_EACH[:4]:
        assert schedule.ratio(0, 1) == 1.0
    assert own_values(Schedule(kind="one_cycle"), 1) == [4e-6]
    assert own_values(Schedule(kind="cosine"), 2) == [1.0, 0.5]
    assert own_values(Schedule(kind="linear"), 2) == [1.0, 0.5]


def test_a_decay_shorter_than_the_training_stays_at_its_end() -> None:
    """The recipe of Goodfellow et al. 2013: linear to x.022292 at epoch 560 of another length."""
    schedule = Schedule(kind="linear", decay_steps=560, final_ratio=0.022292)
    assert schedule.ratio(280, 1000) == pytest.approx((1 + 0.022292) / 2, rel=1e-12)
    assert [schedule.ratio(step, 1000) for step in (560, 561, 999)] == [0.022292] * 3
    longer = Schedule(kind="cosine", decay_steps=200)
    assert longer.ratio(100, 100) == pytest.approx(0.5)


def test_linear_momentum_is_the_ramp_of_the_maxout_recipe() -> None:
    """From .5 to .7 in a straight line, then constant."""
    ramp = MomentumSchedule(kind="linear", initial=0.5, final=0.7, ramp_steps=698)
    for step in (0, 1, 349, 697):
        assert ramp.momentum(step, 2000) == pytest.approx(0.5 + 0.2 * step / 698, rel=1e-14)
    assert [ramp.momentum(step, 2000) for step in (698, 1999)] == [0.7, 0.7]
    whole = MomentumSchedule(initial=0.5, final=0.9)
    assert [whole.momentum(step, 4) for step in range(5)] == pytest.approx(
        [0.5, 0.6, 0.7, 0.8, 0.9]
    )


@given(
    schedule=st.sampled_from(ONE_OF_EACH),
    total_steps=st.integers(1, 10_000),
    warmup_steps=st.integers(0, 50),
    data=st.data(),
)
def test_the_factor_stays_between_zero_and_one(
    schedule: Schedule, total_steps: int, warmup_steps: int, data: st.DataObject
) -> None:
    delayed = dataclasses.replace(schedule, warmup_steps=warmup_steps)
    whole = total_steps + warmup_steps
    ratio = delayed.ratio(data.draw(st.integers(0, whole - 1)), whole)
    assert 0.0 <= ratio <= 1.0
    assert math.isfinite(ratio)


def test_the_tables_name_every_kind() -> None:
    assert sorted(SCHEDULE_KINDS) == sorted(get_args(ScheduleKind))
    assert sorted(MOMENTUM_KINDS) == sorted(get_args(MomentumKind))


@pytest.mark.parametrize("schedule", ONE_OF_EACH, ids=lambda schedule: schedule.kind)
def test_json_and_toml_round_trip(schedule: Schedule) -> None:
    assert _serialization.from_json(Schedule, _serialization.to_json(schedule)) == schedule
    assert _serialization.from_toml(Schedule, _serialization.to_toml(schedule)) == schedule
    momenta = MomentumSchedule(kind="one_cycle")
    assert _serialization.from_toml(MomentumSchedule, _serialization.to_toml(momenta)) == momenta


def test_defaults_of_a_kind_can_be_read() -> None:
    schedule = Schedule(kind="one_cycle")
    assert (schedule.initial_ratio, schedule.final_ratio, schedule.pct_start) == (0.04, 4e-6, 0.3)
    assert Schedule().final_ratio is None


class TestRefusals:
    def test_an_option_of_another_kind(self) -> None:
        with pytest.raises(ValueError, match=r"gamma must be None for 'cosine', got 0\.1"):
            Schedule(kind="cosine", gamma=0.1)
        with pytest.raises(ValueError, match="ramp_steps must be None for 'one_cycle', got 5"):
            MomentumSchedule(kind="one_cycle", ramp_steps=5)

    def test_an_option_that_must_be_given(self) -> None:
        with pytest.raises(ValueError, match="gamma must be given for 'exponential', got None"):
            Schedule(kind="exponential")
        with pytest.raises(ValueError, match="step_size must be given for 'step', got None"):
            Schedule(kind="step")

    def test_numbers_out_of_range(self) -> None:
        with pytest.raises(ValueError, match=r"final_ratio .* at least 0, got -0\.1"):
            Schedule(kind="cosine", final_ratio=-0.1)
        with pytest.raises(ValueError, match=r"gamma .* at most 1, got 1\.5"):
            Schedule(kind="exponential", gamma=1.5)
        with pytest.raises(ValueError, match=r"pct_start .* at most 1, got 30"):
            Schedule(kind="one_cycle", pct_start=30.0)
        with pytest.raises(ValueError, match="decay_steps must be a positive integer, got 0"):
            Schedule(kind="linear", decay_steps=0)
        with pytest.raises(ValueError, match="warmup_steps must be a non-negative integer, got -1"):
            Schedule(warmup_steps=-1)
        with pytest.raises(ValueError, match=r"max_momentum .* less than 1, got 1\.0"):
            MomentumSchedule(kind="one_cycle", max_momentum=1.0)

    def test_a_misspelled_kind_in_a_file(self) -> None:
        with pytest.raises(ValueError, match=r"kind must be one of .*'cosine'.*, got 'cosin'"):
            _serialization.from_toml(Schedule, 'kind = "cosin"')
        with pytest.raises(ConfigError, match="warmup_steps, got 'warmup'"):
            _serialization.from_toml(Schedule, "warmup = 3")

    def test_a_warm_up_as_long_as_the_training(self) -> None:
        expected = (
            r"warmup_steps and hold_steps must be less than total_steps in total \(5\), got 5"
        )
        with pytest.raises(ValueError, match=expected):
            Schedule(warmup_steps=3, hold_steps=2).ratio(0, 5)

    def test_a_step_before_the_first(self) -> None:
        with pytest.raises(ValueError, match="step must be a non-negative integer, got -1"):
            Schedule().ratio(-1, 5)
        with pytest.raises(ValueError, match="total_steps must be a positive integer, got 0"):
            MomentumSchedule().momentum(0, 0)


class TestOptions:
    """Every option of every kind: its default, its range and the type that is stored."""

    @pytest.mark.parametrize(
        ("schedule", "given"),
        [
            (Schedule(), {}),
            (Schedule(kind="cosine"), {"final_ratio": 0.0}),
            (Schedule(kind="linear"), {"final_ratio": 0.0}),
            (Schedule(kind="exponential", gamma=0.9), {"gamma": 0.9}),
            (Schedule(kind="step", step_size=3), {"step_size": 3, "gamma": 0.1}),
            (
                Schedule(kind="one_cycle"),
                {
                    "initial_ratio": 0.04,
                    "final_ratio": 4e-6,
                    "pct_start": 0.3,
                    "anneal_strategy": "cos",
                },
            ),
        ],
        ids=lambda value: value.kind if isinstance(value, Schedule) else "",
    )
    def test_the_defaults_of_each_schedule(
        self, schedule: Schedule, given: dict[str, object]
    ) -> None:
        """Those of the docstring, which are torch's; None for options of other kinds."""
        expected: dict[str, object] = {field.name: None for field in dataclasses.fields(Schedule)}
        expected |= {"kind": schedule.kind, "warmup_steps": 0, "hold_steps": 0} | given
        assert dataclasses.asdict(schedule) == expected

    def test_the_defaults_of_each_momentum(self) -> None:
        expected = {field.name: None for field in dataclasses.fields(MomentumSchedule)}
        linear = {"kind": "linear", "initial": 0.5, "final": 0.9}
        assert dataclasses.asdict(MomentumSchedule()) == expected | linear
        cycle = {"kind": "one_cycle", "base_momentum": 0.85, "max_momentum": 0.95}
        cycle |= {"pct_start": 0.3, "anneal_strategy": "cos"}
        assert dataclasses.asdict(MomentumSchedule(kind="one_cycle")) == expected | cycle

    @pytest.mark.parametrize(
        ("kind", "option", "accepted", "refused"),
        [
            ("constant", "warmup_steps", [0, 1], [-1, 0.5, True]),
            ("constant", "hold_steps", [0, 1], [-1, 0.5, True]),
            ("cosine", "decay_steps", [1, 2], [0, -1, 1.5]),
            ("linear", "decay_steps", [1, 2], [0, -1, 1.5]),
            ("cosine", "final_ratio", [0.0, 0.5, 2.0], [-0.1, math.nan, math.inf]),
            ("linear", "final_ratio", [0.0, 0.5, 2.0], [-0.1, math.nan, math.inf]),
            ("one_cycle", "final_ratio", [0.0, 0.5, 2.0], [-0.1, math.nan, math.inf]),
            ("one_cycle", "initial_ratio", [0.0, 0.5, 2.0], [-0.1, math.nan, math.inf]),
            ("one_cycle", "pct_start", [0.0, 0.5, 1.0], [-0.1, 1.1]),
            ("one_cycle", "anneal_strategy", ["cos", "linear"], ["sine", "COS", 3]),
            ("step", "step_size", [1, 2], [0, -1, 1.5]),
            ("step", "gamma", [0.01, 1.0], [0.0, 1.1]),
            ("exponential", "gamma", [0.01, 1.0], [0.0, 1.1]),
        ],
    )
    def test_the_range_of_each_schedule_option(
        self, kind: ScheduleKind, option: str, accepted: list[object], refused: list[object]
    ) -> None:
        others: dict[str, object] = {"step_size": 3} if kind == "step" else {}
        for value in accepted:
            options = {"kind": kind, **others, option: value}
            assert getattr(Schedule(**options), option) == value  # type: ignore[arg-type]
        for value in refused:
            options = {"kind": kind, **others, option: value}
            with pytest.raises((TypeError, ValueError), match=f"^{option} must be"):
                Schedule(**options)  # type: ignore[arg-type]  # bad on purpose

    @pytest.mark.parametrize(
        ("kind", "option", "accepted", "refused"),
        [
            ("linear", "initial", [0.0, 0.99], [-0.1, 1.0]),
            ("linear", "final", [0.0, 0.99], [-0.1, 1.0]),
            ("linear", "ramp_steps", [1, 2], [0, -1, 1.5]),
            ("one_cycle", "base_momentum", [0.0, 0.99], [-0.1, 1.0]),
            ("one_cycle", "max_momentum", [0.0, 0.99], [-0.1, 1.0]),
            ("one_cycle", "pct_start", [0.0, 0.5, 1.0], [-0.1, 1.1]),
            ("one_cycle", "anneal_strategy", ["cos", "linear"], ["sine", "COS", 3]),
        ],
    )
    def test_the_range_of_each_momentum_option(
        self, kind: MomentumKind, option: str, accepted: list[object], refused: list[object]
    ) -> None:
        for value in accepted:
            options = {"kind": kind, option: value}
            assert getattr(MomentumSchedule(**options), option) == value  # type: ignore[arg-type]
        for value in refused:
            options = {"kind": kind, option: value}
            with pytest.raises((TypeError, ValueError), match=f"^{option} must be"):
                MomentumSchedule(**options)  # type: ignore[arg-type]  # bad on purpose

    @pytest.mark.parametrize("kind", ["cosin", "COSINE", "", 3, None])
    def test_an_unknown_kind(self, kind: object) -> None:
        with pytest.raises((TypeError, ValueError), match=r"^kind must be one of .*'constant'"):
            Schedule(kind=kind)  # type: ignore[arg-type]  # bad on purpose
        with pytest.raises((TypeError, ValueError), match=r"^kind must be one of .*'linear'"):
            MomentumSchedule(kind=kind)  # type: ignore[arg-type]  # bad on purpose

    def test_numpy_scalars_are_stored_as_numbers_of_python(self) -> None:
        """So that the configuration can be written."""
        schedule = Schedule(
            kind="linear",
            warmup_steps=np.int64(2),  # type: ignore[arg-type]  # as from an array
            hold_steps=np.int64(3),  # type: ignore[arg-type]  # as from an array
            decay_steps=np.int64(4),  # type: ignore[arg-type]  # as from an array
            final_ratio=np.float32(0.5),  # type: ignore[arg-type]  # as from an array
        )
        step = Schedule(kind="step", step_size=np.int64(5), gamma=np.float64(0.5))  # type: ignore[arg-type]
        cycle = Schedule(kind="one_cycle", initial_ratio=np.float64(0.5), pct_start=np.float64(0.5))
        linear = MomentumSchedule(
            initial=np.float64(0.5),
            final=np.float64(0.5),
            ramp_steps=np.int64(3),  # type: ignore[arg-type]  # as from an array
        )
        one_cycle = MomentumSchedule(
            kind="one_cycle",
            base_momentum=np.float64(0.5),
            max_momentum=np.float64(0.5),
            pct_start=np.float64(0.5),
        )
        for made in (schedule, step, cycle, linear, one_cycle):
            types = {type(value) for value in dataclasses.asdict(made).values()}
            assert types <= {str, int, float, type(None)}


def test_every_curve_keeps_its_last_value() -> None:
    """After the last step of the run, also behind warmup and hold steps."""
    exponential = Schedule(kind="exponential", gamma=0.5, warmup_steps=2, hold_steps=1)
    assert [exponential.ratio(step, 7) for step in (3, 4, 6, 7, 8, 100)] == [
        *(1.0, 0.5, 0.125, 0.0625, 0.0625, 0.0625)
    ]
    steps = Schedule(kind="step", step_size=2, gamma=0.5)
    assert [steps.ratio(step, 4) for step in (0, 1, 2, 3, 4, 5, 6, 100)] == [
        *(1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25)
    ]
    assert Schedule().ratio(100, 4) == 1.0
    ramp = MomentumSchedule(initial=0.9, final=0.3, ramp_steps=3)  # 0.9 + (0.3 - 0.9) is not 0.3
    assert [ramp.momentum(step, 10) for step in (0, 3, 4, 100)] == [0.9, 0.3, 0.3, 0.3]
    cycle = MomentumSchedule(kind="one_cycle", base_momentum=0.5, max_momentum=0.75)
    assert [cycle.momentum(step, 10) for step in (0, 9, 10, 100)] == [0.75] * 4


def test_steps_and_run_lengths_are_checked() -> None:
    """By the rate and by the momentum."""
    for curve in (Schedule().ratio, MomentumSchedule().momentum):
        with pytest.raises(ValueError, match=r"^step must be a non-negative integer, got -1"):
            curve(-1, 5)
        with pytest.raises(ValueError, match=r"^total_steps must be a positive integer, got 0"):
            curve(0, 0)
        with pytest.raises(TypeError, match=r"^total_steps must be a positive integer, got 1\.5"):
            curve(0, 1.5)  # type: ignore[arg-type]  # bad on purpose
        assert curve(0, 1) in (1.0, 0.5)
    late = Schedule(warmup_steps=1, hold_steps=2)
    assert [late.ratio(step, 4) for step in range(5)] == [0.5, 1.0, 1.0, 1.0, 1.0]
    for schedule in (late, Schedule(hold_steps=3), Schedule(warmup_steps=4)):
        with pytest.raises(ValueError, match=r"total_steps in total \(3\), got [34]; train for"):
            schedule.ratio(0, 3)
