"""Argument checks, and the error message that names argument, rule, value and remedy.

A check returns the value as plain Python: a scalar of NumPy or torch becomes a bool, an int or a
float. Configurations store what their checks return, so every value has a JSON form.
"""

from __future__ import annotations

import difflib
import math
import numbers
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import SupportsIndex, TypeAlias, TypeVar

_Name = TypeVar("_Name", bound=str)
_Item = TypeVar("_Item")

#: A function of the name of an argument and its value that returns the checked value.
Check: TypeAlias = Callable[[str, object], _Item]


class Unquoted(str):
    """What was found, in words: an error message shows it without quotes, unlike a value."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def error_message(argument: str, rule: str, value: object, cure: str | None = None) -> str:
    """Return ``<argument> must be <rule>, got <value>; <what to do>``."""
    text = f"{argument} must be {rule}, got {_shown(value)}"
    return text if cure is None else f"{text}; {cure}"


def _shown(value: object) -> str:
    """Return the repr of a value on one line of at most 120 characters."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 120 else f"{text[:117]}..."


def stable_repr(value: object) -> str:
    """Return the repr of a value, or its qualified name if the repr contains a memory address."""
    described = repr(value)
    if " at 0x" not in described:
        return described
    kind = value if hasattr(value, "__qualname__") else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def nearest(value: str, names: Sequence[str]) -> str | None:
    """Return the name most similar to ``value``, ignoring case; None if none is similar."""
    found = difflib.get_close_matches(value.lower(), [name.lower() for name in names], n=1)
    if not found:
        return None
    return next(name for name in names if name.lower() == found[0])


def plain_scalar(value: object) -> object:
    """Return a NumPy or torch scalar (0 axes) as a Python scalar, and other values unchanged."""
    item = getattr(value, "item", None)
    if getattr(value, "ndim", None) != 0 or not callable(item):
        return value
    try:
        scalar: object = item()
    except RuntimeError:  # a tensor without data, for instance on the meta device
        return value
    return scalar


def check_int(argument: str, value: object, *, minimum: int, cure: str | None = None) -> int:
    """Return ``value`` as an int, at least ``minimum``; a bool raises TypeError."""
    if type(value) is int and value >= minimum:  # fast path: runs in every training step
        return value
    rule = {0: "a non-negative integer", 1: "a positive integer"}.get(
        minimum, f"an integer of at least {minimum}"
    )
    scalar = plain_scalar(value)
    has_axes = getattr(scalar, "ndim", 0) != 0  # a tensor with one element has __index__
    if isinstance(scalar, bool) or has_axes or not isinstance(scalar, SupportsIndex):
        raise TypeError(error_message(argument, rule, value, cure))
    try:
        number = operator.index(scalar)
    except (TypeError, RuntimeError):  # for instance, a tensor without data
        raise TypeError(error_message(argument, rule, value, cure)) from None
    if number < minimum:
        raise ValueError(error_message(argument, rule, value, cure))
    return number


def check_float(
    argument: str,
    value: object,
    *,
    above: float | None = None,
    minimum: float | None = None,
    below: float | None = None,
    maximum: float | None = None,
    cure: str | None = None,
) -> float:
    """Return ``value`` as a finite float within the bounds; a bool raises TypeError."""
    bounds = [
        f"{word} {bound:g}"
        for word, bound in (
            ("greater than", above),
            ("at least", minimum),
            ("less than", below),
            ("at most", maximum),
        )
        if bound is not None
    ]
    rule = "a finite number" + (" " + " and ".join(bounds) if bounds else "")
    scalar = plain_scalar(value)
    if isinstance(scalar, bool) or not isinstance(scalar, numbers.Real):
        raise TypeError(error_message(argument, rule, value, cure))
    try:
        real = float(scalar)
    except OverflowError:  # an integer above the largest float
        real = math.inf
    inside = (
        math.isfinite(real)
        and (above is None or real > above)
        and (minimum is None or real >= minimum)
        and (below is None or real < below)
        and (maximum is None or real <= maximum)
    )
    if not inside:
        raise ValueError(error_message(argument, rule, value, cure))
    return real


def check_probability(argument: str, value: object, *, cure: str | None = None) -> float:
    """Return ``value`` as a float in [0, 1)."""
    return check_float(argument, value, minimum=0.0, below=1.0, cure=cure)


def check_bool(argument: str, value: object) -> bool:
    """Return ``value`` as a bool; 0 and 1 raise TypeError."""
    scalar = plain_scalar(value)
    if not isinstance(scalar, bool):
        raise TypeError(error_message(argument, "True or False", value))
    return scalar


def check_choice(argument: str, value: object, names: Sequence[_Name]) -> _Name:
    """Return ``value`` if it is one of ``names``, else raise an error that suggests the nearest."""
    listed = ", ".join(repr(name) for name in sorted(names))
    rule = f"one of {listed}"
    if not isinstance(value, str):
        raise TypeError(error_message(argument, rule, value))
    for name in names:
        if name == value:
            return name
    meant = nearest(value, names)
    raise ValueError(
        error_message(argument, rule, value, None if meant is None else f"did you mean {meant!r}?")
    )


def check_tuple(
    argument: str, value: object, check: Check[_Item], *, rule: str
) -> tuple[_Item, ...]:
    """Return a sequence, or an array or tensor with one axis, as a tuple of checked items.

    Args:
        argument: Name of the argument; item ``i`` is named ``argument[i]``.
        value: The value; a string is not a sequence here.
        check: Check of each item.
        rule: What the whole value must be, for error messages.
    """
    to_list = getattr(value, "tolist", None)
    items = to_list() if getattr(value, "ndim", None) == 1 and callable(to_list) else value
    if isinstance(items, str | bytes) or not isinstance(items, Sequence):
        raise TypeError(error_message(argument, rule, value))
    return tuple(check(f"{argument}[{index}]", item) for index, item in enumerate(items))


def or_none(check: Check[_Item]) -> Check[_Item | None]:
    """Return a check that also accepts None."""

    def checked(argument: str, value: object) -> _Item | None:
        return None if value is None else check(argument, value)

    return checked


def store_checked(config: object, checks: Mapping[str, Check[object]], *, prefix: str = "") -> None:
    """Replace fields of a frozen dataclass with the values that their checks return.

    Args:
        config: The configuration; called in its ``__post_init__``.
        checks: The check of each field.
        prefix: Text before the names of the fields in error messages.
    """
    for name, check in checks.items():
        object.__setattr__(config, name, check(prefix + name, getattr(config, name)))
