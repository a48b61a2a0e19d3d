"""Frames and arrays as tables, with the checks of scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, is_regressor  # type: ignore[import-untyped]
from sklearn.utils import check_consistent_length  # type: ignore[import-untyped]
from sklearn.utils.validation import _check_y, validate_data  # type: ignore[import-untyped]

from mlpkit.data.tables import (
    ArrayTable,
    CategoryColumn,
    Column,
    ConstantColumn,
    Frame,
    NumberColumn,
    Table,
    TableEncoder,
    check_distinct,
)
from mlpkit.errors import DataError
from mlpkit.sklearn._presets import is_frame
from mlpkit.sklearn._targets import check_targets

__all__ = ["fit_encoder", "read_inputs", "read_targets"]

Array = npt.NDArray[np.generic]


def read_inputs(estimator: BaseEstimator, X: object, *, reset: bool) -> Table:
    """Return inputs as a table, and set or compare the number and the names of the features.

    The columns of an array, and of a frame whose columns have other names than strings, are those
    of the fit in their order, or ``x0``, ``x1`` and so on if the fit had no names.

    Raises:
        TypeError: If the names of a frame are strings and other values.
        ValueError: If the inputs cannot be read, or have other features than those of the fit.
    """
    if not is_frame(X):
        array = validate_data(
            estimator, X, dtype="numeric", ensure_all_finite="allow-nan", reset=reset
        )
        return ArrayTable(array, names=_names(estimator))
    check_distinct(cast("Frame", X).columns)
    frame: Any = validate_data(estimator, X, skip_check_array=True, reset=reset)
    names = _names(estimator)
    if list(frame.columns) != names:
        frame = _renamed(frame, names)
    return Table(cast("Frame", frame))


def _names(estimator: BaseEstimator) -> list[str]:
    """Return the name of each column of the fit."""
    count: int = estimator.n_features_in_
    numbered = [f"x{number}" for number in range(count)]
    return list(getattr(estimator, "feature_names_in_", numbered))


def _renamed(frame: Any, names: Sequence[str]) -> object:
    """Return a frame of pandas or polars with other names of the columns."""
    if hasattr(frame, "set_axis"):
        return frame.set_axis(names, axis=1)
    return frame.rename(dict(zip(frame.columns, names, strict=True)))


def fit_encoder(table: Table) -> TableEncoder:
    """Return an encoder fitted on the columns of a table.

    If every column is constant, the first one is a feature nevertheless: the networks then learn
    the mean of the targets, as those of scikit-learn do.

    Raises:
        DataError: If a column cannot be used.
    """
    names = table.columns
    if not names or not all(_is_constant(table, name) for name in names):
        return TableEncoder.fit(table, categories="codes")
    first = table.read(names[0])
    kept: Column
    if first.kind == "text":
        kept = CategoryColumn.fit(first)
    else:
        median = 0.0 if first.kind == "empty" else float(first.numbers[0])
        kept = NumberColumn(name=first.name, median=median)
    others = (ConstantColumn(name=name) for name in names[1:])
    return TableEncoder(columns=(kept, *others), dtype="float64", categories="codes")


def _is_constant(table: Table, name: str) -> bool:
    """Return whether a column has one value or none; one that cannot be read is not constant."""
    try:
        return table.read(name).is_constant
    except DataError:
        return False


def read_targets(estimator: BaseEstimator, y: object, table: Table) -> Array:
    """Return targets as an array, one row for each row of a table.

    Raises:
        ValueError: If they are missing or not finite, or their number differs.
    """
    if y is None:
        name = type(estimator).__name__
        message = f"requires y to be passed, but the target y is None; {name}.fit(X, y) needs both"
        raise ValueError(message)
    is_numeric = is_regressor(estimator)
    check_targets(y, is_numeric=is_numeric)
    checked = _check_y(y, multi_output=True, y_numeric=is_numeric, estimator=estimator)
    check_consistent_length(table, checked)
    array: Array = checked
    return array
