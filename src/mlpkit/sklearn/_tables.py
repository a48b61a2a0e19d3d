"""Frames and arrays as tables, with the checks of scikit-learn."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, is_regressor  # type: ignore[import-untyped]
from sklearn.utils import check_consistent_length  # type: ignore[import-untyped]
from sklearn.utils.validation import _check_y, validate_data  # type: ignore[import-untyped]

from mlpkit.data.tables import ArrayTable, Frame, Table
from mlpkit.sklearn._presets import is_frame

__all__ = ["read_inputs", "read_targets"]

Array = npt.NDArray[np.generic]


def read_inputs(estimator: BaseEstimator, X: object, *, reset: bool) -> Table:
    """Return inputs as a table, and set or compare the number and the names of the features.

    The columns of a frame without names, whose columns are integers, are called ``x0``, ``x1`` and
    so on, as those of an array.

    Raises:
        TypeError: If the names of a frame are strings and other values.
        ValueError: If the inputs cannot be read, or have other features than those of the fit.
    """
    if not is_frame(X):
        array = validate_data(
            estimator, X, dtype="numeric", ensure_all_finite="allow-nan", reset=reset
        )
        return ArrayTable(array)
    frame: Any = validate_data(estimator, X, skip_check_array=True, reset=reset)
    if not all(isinstance(name, str) for name in frame.columns):
        frame = frame.set_axis([f"x{number}" for number in range(frame.shape[1])], axis=1)
    return Table(cast("Frame", frame))


def read_targets(estimator: BaseEstimator, y: object, table: Table) -> Array:
    """Return targets as an array, one row for each row of a table.

    Raises:
        ValueError: If they are missing or not finite, or their number differs.
    """
    if y is None:
        name = type(estimator).__name__
        message = f"requires y to be passed, but the target y is None; {name}.fit(X, y) needs both"
        raise ValueError(message)
    checked = _check_y(y, multi_output=True, y_numeric=is_regressor(estimator), estimator=estimator)
    check_consistent_length(table, checked)
    array: Array = checked
    return array
