"""The argument checks: accepted values, and the error message for all others."""

from __future__ import annotations

import dataclasses
import fractions
import math
from functools import partial

import numpy as np
import pytest
import torch

from mlpkit import _checks
from mlpkit._checks import Unquoted, error_message


def type_and_value(value: object) -> str:
    """Return a test ID; before NumPy 2 scalars of NumPy and Python have the same repr."""
    return f"{type(value).__name__}-{value!r}"


@pytest.mark.parametrize("value", [7, np.int64(7), np.uint8(7), np.array(7), torch.tensor(7)])
def test_check_int_accepts_every_index(value: object) -> None:
    """Integers of Python, NumPy and torch become an int."""
    result = _checks.check_int("width", value, minimum=1)
    assert type(result) is int
    assert result == 7


@pytest.mark.parametrize(
    "value",
    [
        *(True, 1.0, "1", None, np.bool_(False), np.array(True), np.float64(2.5)),
        *(torch.tensor(True), torch.tensor(1.0), torch.tensor([1, 2]), torch.tensor([True])),
        torch.tensor(1, device="meta"),
    ],
    ids=type_and_value,
)
def test_check_int_refuses_other_types(value: object) -> None:
    """A bool, a float, a string, and a tensor with axes or without data raise TypeError."""
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


@pytest.mark.parametrize(
    "value",
    [
        *(0, 0.5, fractions.Fraction(1, 2), np.float32(0.5), np.float16(0.5), np.longdouble(0.5)),
        *(np.int64(2), np.array(0.5), torch.tensor(0.5), torch.tensor(2), torch.tensor(0.5).half()),
        torch.tensor(0.5, requires_grad=True),
    ],
    ids=type_and_value,
)
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


def test_an_integer_above_every_float_is_out_of_range() -> None:
    """The error is the one for infinity, not the OverflowError of the conversion."""
    with pytest.raises(ValueError, match=r"^lr must be a finite number, got 1000"):
        _checks.check_float("lr", 10**400)


@pytest.mark.parametrize(
    "value",
    [
        *(True, "0.5", None, 1j, np.bool_(True), np.complex64(1), np.datetime64(1, "s")),
        *(torch.tensor(True), torch.tensor([0.5]), torch.tensor(1j), np.array([0.5])),
        torch.tensor(0.5, device="meta"),
    ],
    ids=type_and_value,
)
def test_check_float_refuses_other_types(value: object) -> None:
    """A bool, a string of digits, a complex number and an array with axes raise TypeError."""
    with pytest.raises(TypeError, match=r"^lr must be a finite number, got "):
        _checks.check_float("lr", value)


@pytest.mark.parametrize("value", [True, np.bool_(True), np.array(True), torch.tensor(True)])
def test_check_bool_accepts_every_bool(value: object) -> None:
    """Bools of Python, NumPy and torch become a bool."""
    assert _checks.check_bool("flatten", value) is True


@pytest.mark.parametrize("value", [0, 1, "yes", None, np.int64(1), torch.tensor([True])])
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


_WEIGHTS = partial(
    _checks.check_tuple, "weights", check=_checks.check_float, rule="a sequence of numbers"
)


@pytest.mark.parametrize(
    "value",
    [
        *((1, 2.0), [np.int64(1), np.float32(2)], range(1, 3), np.array([1, 2])),
        *(np.array([1, 2], np.float16), torch.tensor([1.0, 2.0]), [torch.tensor(1.0), 2]),
    ],
    ids=type_and_value,
)
def test_check_tuple_accepts_sequences_arrays_and_tensors(value: object) -> None:
    """The items are plain Python floats."""
    result = _WEIGHTS(value)
    assert result == (1.0, 2.0)
    assert [type(item) for item in result] == [float, float]


@pytest.mark.parametrize(
    "value", [1.0, "12", b"34", {1.0}, {1.0: 2.0}, None, np.eye(2), torch.tensor(1.0)]
)
def test_check_tuple_refuses_everything_else(value: object) -> None:
    """A number, a string, a set and a matrix raise TypeError."""
    with pytest.raises(TypeError, match=r"^weights must be a sequence of numbers, got "):
        _WEIGHTS(value)


def test_check_tuple_names_the_item() -> None:
    """The error for an item has its index."""
    with pytest.raises(TypeError, match=r"^weights\[1\] must be a finite number, got True$"):
        _WEIGHTS([1.0, True])


def test_store_checked_replaces_the_fields() -> None:
    """The fields are what the checks returned; an error has the prefix."""

    @dataclasses.dataclass(frozen=True, slots=True)
    class Box:
        width: int
        label: bool | None = None

        def __post_init__(self) -> None:
            checks: dict[str, _checks.Check[object]] = {
                "width": partial(_checks.check_int, minimum=1),
                "label": _checks.or_none(_checks.check_bool),
            }
            _checks.store_checked(self, checks, prefix="box.")

    box = Box(np.int64(3))  # type: ignore[arg-type]
    assert (type(box.width), box.width, box.label) == (int, 3, None)
    assert Box(1, np.bool_(False)).label is False  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^box\.width must be a positive integer, got 0$"):
        Box(0)
    with pytest.raises(TypeError, match=r"^box\.label must be True or False, got 1$"):
        Box(1, 1)  # type: ignore[arg-type]


def test_a_description_is_shown_without_quotes() -> None:
    """A string that is the value has quotes; what was found, in words, has none."""
    assert error_message("norm", "'batch'", "x y") == "norm must be 'batch', got 'x y'"
    found = Unquoted("NaN or infinity")
    assert error_message("inputs", "finite", found) == "inputs must be finite, got NaN or infinity"
    assert error_message("inputs", "finite", Unquoted("x" * 500)).endswith("x...")
