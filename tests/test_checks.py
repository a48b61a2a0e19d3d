"""The argument checks: accepted values, and the error message for all others."""

from __future__ import annotations

import fractions
import math

import numpy as np
import pytest
import torch

from mlpkit import _checks


@pytest.mark.parametrize("value", [7, np.int64(7), torch.tensor(7)])
def test_check_int_accepts_every_index(value: object) -> None:
    """Integers of Python, NumPy and torch become an int."""
    result = _checks.check_int("width", value, minimum=1)
    assert type(result) is int
    assert result == 7


@pytest.mark.parametrize("value", [True, 1.0, "1", None, np.bool_(True), torch.tensor([1, 2])])
def test_check_int_refuses_other_types(value: object) -> None:
    """A bool, a float, a string and a tensor with several elements raise TypeError."""
    with pytest.raises(TypeError, match=r"^width must be a positive integer, got "):
        _checks.check_int("width", value, minimum=1)


@pytest.mark.parametrize(
    ("value", "minimum", "rule"),
    [(0, 1, "a positive integer"), (-1, 0, "a non-negative integer"), (2, 3, "an integer of")],
)
def test_check_int_refuses_values_below_the_minimum(value: int, minimum: int, rule: str) -> None:
    """The message names argument, rule, value and remedy."""
    with pytest.raises(ValueError, match=rf"^size must be {rule}.*, got {value}; add one$"):
        _checks.check_int("size", value, minimum=minimum, cure="add one")


@pytest.mark.parametrize("value", [0, 0.5, np.float32(0.5), fractions.Fraction(1, 2)])
def test_check_float_accepts_every_real_number(value: object) -> None:
    """Every real number becomes a float of the same value."""
    result = _checks.check_float("lr", value)
    assert type(result) is float
    assert result == value


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.1, 1.0, 2.0])
def test_check_probability_refuses_values_outside_its_bounds(value: float) -> None:
    """NaN, infinity and values outside [0, 1) raise ValueError."""
    rule = "a finite number at least 0 and less than 1"
    with pytest.raises(ValueError, match=rf"^dropout must be {rule}, got {value}$"):
        _checks.check_probability("dropout", value)


def test_check_float_has_open_and_closed_bounds() -> None:
    """`above` excludes its bound, `minimum` and `maximum` include theirs."""
    assert _checks.check_float("x", 1, minimum=1, maximum=1) == 1.0
    with pytest.raises(ValueError, match=r"^x must be a finite number greater than 1, got 1$"):
        _checks.check_float("x", 1, above=1)
    with pytest.raises(ValueError, match=r"^x must be a finite number at most 1, got 1.5$"):
        _checks.check_float("x", 1.5, maximum=1)


@pytest.mark.parametrize("value", [True, "0.5", None, 1j])
def test_check_float_refuses_other_types(value: object) -> None:
    """A bool and a string of digits raise TypeError."""
    with pytest.raises(TypeError, match=r"^lr must be a finite number, got "):
        _checks.check_float("lr", value)


@pytest.mark.parametrize("value", [0, 1, "yes", None])
def test_check_bool_refuses_other_types(value: object) -> None:
    """Only True and False are accepted."""
    with pytest.raises(TypeError, match=r"^flatten must be True or False, got "):
        _checks.check_bool("flatten", value)


def test_check_choice_suggests_the_nearest_name() -> None:
    """The error for a misspelled name lists all names and suggests one."""
    with pytest.raises(
        ValueError,
        match=r"^norm must be one of 'batch', 'layer', 'rms', got 'bacth'; did you mean 'batch'\?$",
    ):
        _checks.check_choice("norm", "bacth", ("batch", "layer", "rms"))
    with pytest.raises(ValueError, match=r"got 'xyz'$"):
        _checks.check_choice("norm", "xyz", ("batch", "layer", "rms"))
    with pytest.raises(TypeError, match=r"^norm must be one of 'batch', got 3$"):
        _checks.check_choice("norm", 3, ("batch",))
    assert _checks.check_choice("norm", "batch", ("batch", "layer")) == "batch"


def test_nearest_ignores_case() -> None:
    """`relu` is the nearest name to `ReLU`."""
    assert _checks.nearest("ReLU", ["tanh", "relu"]) == "relu"


def test_a_long_value_is_cut() -> None:
    """A long repr does not make the message long."""
    text = _checks.error_message("x", "short", "y" * 500)
    assert len(text) < 150
    assert text.endswith("...")
