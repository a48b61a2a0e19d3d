"""Argument checks, and the error message that names argument, rule, value and remedy."""

from __future__ import annotations

import difflib
import math
import numbers
import operator
from collections.abc import Sequence
from typing import SupportsIndex, TypeVar

import numpy as np

_Name = TypeVar("_Name", bound=str)


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


def check_int(argument: str, value: object, *, minimum: int, cure: str | None = None) -> int:
    """Return ``value`` as an int, at least ``minimum``; a bool raises TypeError."""
    if type(value) is int and value >= minimum:  # fast path: runs in every training step
        return value
    rule = {0: "a non-negative integer", 1: "a positive integer"}.get(
        minimum, f"an integer of at least {minimum}"
    )
    # np.bool_ has __index__ before NumPy 2
    if isinstance(value, bool | np.bool_) or not isinstance(value, SupportsIndex):
        raise TypeError(error_message(argument, rule, value, cure))
    try:
        number = operator.index(value)
    except TypeError:  # for instance, a tensor with several elements
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
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(error_message(argument, rule, value, cure))
    real = float(value)
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
    """Return ``value`` if it is a bool; 0, 1 and NumPy's bools raise TypeError."""
    if not isinstance(value, bool):
        raise TypeError(error_message(argument, "True or False", value))
    return value


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
