"""ArrayTable: the columns of a numeric array as those of a frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt

from mlpkit._checks import Unquoted, error_message
from mlpkit.data.tables._frame import Floats, Table, Values, checked_numbers
from mlpkit.errors import DataError

__all__ = ["ArrayTable"]


class ArrayTable(Table):
    """The columns of an array of numbers.

    It is read without narwhals.

    Args:
        array: Numbers, ``(N, D)``; NaN is a missing value.
        names: Name of each column; None is ``x0``, ``x1`` and so on.

    Raises:
        DataError: If it is not an array of numbers with two axes.
    """

    def __init__(
        self, array: npt.NDArray[np.generic], *, names: Sequence[str] | None = None
    ) -> None:
        if array.ndim != 2 or not np.can_cast(array.dtype, np.float64, "same_kind"):
            rule = "an array of real numbers with two axes"
            found = Unquoted(f"{array.dtype} of shape {array.shape}")
            raise DataError(error_message("array", rule, found))
        self._numbers_of_rows: Floats = array.astype(np.float64)
        numbered = (f"x{number}" for number in range(array.shape[1]))
        self.columns = tuple(numbered if names is None else names)
        assert len(self.columns) == array.shape[1], "one name for each column"

    def __len__(self) -> int:
        return len(self._numbers_of_rows)

    def select(self, rows: npt.NDArray[np.int64]) -> Self:
        """Return the rows at the given indices."""
        return type(self)(self._numbers_of_rows[rows], names=self.columns)

    def read(self, name: str) -> Values:
        """Return the values of a column.

        Raises:
            DataError: If one is infinite.
        """
        column = self._numbers_of_rows[:, self.columns.index(name)]
        return checked_numbers(name, "number", column)
