"""Options that belong to one kind only: filled in there, refused elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Final

import pytest

from mlpkit.training import MomentumSchedule, OptimizerConfig, Schedule
from mlpkit.training.optim._optimizers import OPTIMIZERS
from mlpkit.training.optim._options import REQUIRED, Default, fill_options, required
from mlpkit.training.optim._schedule import MOMENTUM_KINDS, SCHEDULE_KINDS

KINDS: Final[dict[str, dict[str, Default]]] = {
    "oven": {"degrees": 180.0, "fan": False, "minutes": REQUIRED},
    "fridge": {"degrees": 4.0, "label": None},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A configuration of two kinds, with an option that both have and one for all."""

    kind: str
    watts: int = 100
    degrees: float | None = None
    fan: bool | None = None
    minutes: int | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        fill_options(self, self.kind, KINDS[self.kind])


def test_what_is_left_out_is_that_of_its_kind() -> None:
    """The same option has another default in another kind; what the kind has not stays None."""
    oven, fridge = Box(kind="oven", minutes=20), Box(kind="fridge")
    assert (oven.degrees, oven.fan, oven.minutes, oven.label) == (180.0, False, 20, None)
    assert (fridge.degrees, fridge.fan, fridge.minutes, fridge.label) == (4.0, None, None, None)


def test_what_is_given_stays_also_where_it_is_false() -> None:
    """Only None is left out: 0, False and the empty string are values."""
    box = Box(kind="fridge", degrees=0.0, label="", watts=7)
    assert (box.degrees, box.label, box.watts) == (0.0, "", 7)
    assert Box(kind="oven", minutes=0, fan=False).minutes == 0


def test_settling_twice_changes_nothing() -> None:
    """A required configuration, written out and read again, is the same one."""
    box = Box(kind="oven", minutes=20)
    assert replace(box) == box


@pytest.mark.parametrize(("option", "value"), [("fan", False), ("minutes", 0)])
def test_an_option_of_another_kind_is_refused(option: str, value: object) -> None:
    """Even one that is false, since it would have no effect."""
    expected = (
        f"^{option} must be None for 'fridge', got {value}; "
        "omit it, or choose a kind that has this option$"
    )
    untyped: Callable[..., Box] = Box
    with pytest.raises(ValueError, match=expected):
        untyped(kind="fridge", **{option: value})


def test_a_required_option_is_asked_for() -> None:
    with pytest.raises(ValueError, match=r"^minutes must be given for 'oven', got None$"):
        Box(kind="oven")


def test_a_settled_option_is_read_and_one_of_another_kind_is_a_defect() -> None:
    """0 and False are values here too."""
    assert required(0) == 0
    assert required(value=False) is False
    with pytest.raises(RuntimeError, match="an option of another kind was read"):
        required(None)


@pytest.mark.parametrize(
    ("config", "tables"),
    [
        (OptimizerConfig, {name: kind.options for name, kind in OPTIMIZERS.items()}),
        (Schedule, {name: kind.options for name, kind in SCHEDULE_KINDS.items()}),
        (MomentumSchedule, {name: kind.options for name, kind in MOMENTUM_KINDS.items()}),
    ],
)
def test_every_option_in_a_table_is_a_field_that_may_be_left_out(
    config: type[OptimizerConfig | Schedule | MomentumSchedule],
    tables: Mapping[str, Mapping[str, Default]],
) -> None:
    """A misspelt key would be filled in nowhere, and an option in no table never be accepted."""
    optional = {field.name for field in fields(config) if field.default is None}
    assert {option for options in tables.values() for option in options} == optional
