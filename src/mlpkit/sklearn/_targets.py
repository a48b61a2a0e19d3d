"""Checks of the targets, whose messages name y and what to do."""

from __future__ import annotations

import numbers

import numpy as np
import numpy.typing as npt

from mlpkit._checks import Unquoted, error_message
from mlpkit.errors import DataError

__all__ = ["check_classes", "check_targets"]

Array = npt.NDArray[np.generic]


def check_targets(y: object, *, is_numeric: bool) -> None:
    """Refuse missing targets, and objects that are no numbers in a regression.

    Args:
        y: What ``fit`` was given.
        is_numeric: Whether the targets are those of a regression.

    Raises:
        DataError: If a target is missing, or is no number in a regression.
    """
    try:
        array = np.asarray(y)
    except ValueError:  # rows of different lengths, of which scikit-learn has a message
        return
    if array.ndim == 0:  # None, or a sparse matrix
        return
    _check_complete(array)
    if is_numeric and array.dtype == object:
        _check_numbers(array)


def check_classes(y: Array) -> None:
    """Refuse targets of a classification that are numbers with a fraction, or mixed objects.

    Raises:
        DataError: If they are.
    """
    if y.dtype.kind == "f":
        fractions = y[y != np.floor(y)]
        if len(fractions):
            found = Unquoted(f"continuous numbers such as {float(fractions[0])!r}")
            cure = "MLPRegressor predicts numbers; round them for classes"
            raise DataError(error_message("y", "classes", found, cure))
    if y.dtype != object or all(isinstance(item, str) for item in y.flat):
        return
    types = {type(item) for item in y.flat}
    found = Unquoted("objects of the type " + " and ".join(sorted(one.__name__ for one in types)))
    only = types.pop() if len(types) == 1 else None
    is_plain = only is not None and issubclass(only, numbers.Real | np.bool_)
    name = only.__name__ if only is not None and is_plain else "str"
    message = error_message(
        "y", "text, or of a dtype of numbers or booleans", found, f"use y.astype({name})"
    )
    raise DataError(f"Unknown label type: {message}")  # the words that scikit-learn checks


def _check_complete(array: Array) -> None:
    """Raise DataError if a value is missing."""
    if array.dtype.kind == "f":
        missing = np.isnan(array)
    elif array.dtype == object:
        missing = np.array([_is_missing(item) for item in array.flat], bool).reshape(array.shape)
    else:
        return
    rows = missing.reshape(len(array), -1).any(axis=1)
    if rows.any():
        count, row = int(rows.sum()), int(rows.argmax())
        found = Unquoted(
            f"NaN or None in {count} of {len(array)} rows, the first in row {row} from 0"
        )
        cure = "drop the rows without a target from X and y"
        raise DataError(error_message("y", "given in each row", found, cure))


def _is_missing(item: object) -> bool:
    """Return whether an object is None, NaN, or the missing value of pandas."""
    if item is None:
        return True
    if isinstance(item, str):
        return False
    try:
        return bool(item != item)  # NaN differs from itself
    except (TypeError, ValueError):  # that of pandas has no truth value; nor has an array
        return type(item).__name__ == "NAType"


def _check_numbers(array: Array) -> None:
    """Raise DataError if an object is neither a number nor text that can be read as one."""
    for item in array.flat:
        try:
            float(item)
        except OverflowError:  # an integer beyond the largest float is a number
            continue
        except (TypeError, ValueError):
            cure = "convert it to numbers, or use MLPClassifier for classes"
            raise DataError(error_message("y", "real numbers", item, cure)) from None
