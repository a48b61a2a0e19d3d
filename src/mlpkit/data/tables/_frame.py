"""The columns of a pandas or polars frame as plain numbers or text."""

from __future__ import annotations

import datetime
import importlib
import math
import numbers
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from mlpkit._checks import Unquoted, error_message, nearest
from mlpkit.errors import DataError, MissingDependencyError

if TYPE_CHECKING:
    import narwhals

__all__ = ["Floats", "Frame", "Table", "Values", "as_table", "check_distinct", "checked_numbers"]

Floats: TypeAlias = npt.NDArray[np.float64]
_LARGEST_EXACT: Final = 2.0**53  # from here on float64 merges integers
ValueKind: TypeAlias = Literal["number", "integer", "boolean", "text", "empty"]


class Frame(Protocol):
    """A table of named columns: a ``pandas.DataFrame`` or a ``polars.DataFrame``."""

    @property
    def columns(self) -> Iterable[object]:
        """The names of the columns."""
        ...

    def __len__(self) -> int:
        """Return the number of rows."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Values:
    """The values of one column.

    Attributes:
        name: Name of the column.
        kind: What the values are; ``"empty"`` if all are missing.
        numbers: The values of a column that is no text, float64 of shape (N,); NaN is missing.
        texts: The values of a column of text; None is missing.
        is_categorical: Whether the column of text has a categorical dtype.
    """

    name: str
    kind: ValueKind
    numbers: Floats
    texts: Sequence[str | None] = ()
    is_categorical: bool = False

    def __len__(self) -> int:
        return len(self.texts) if self.kind == "text" else len(self.numbers)

    @property
    def missing(self) -> npt.NDArray[np.bool_]:
        """Where values are missing, shape (N,)."""
        if self.kind == "text":
            return np.array([text is None for text in self.texts], dtype=bool)
        return np.isnan(self.numbers)

    @property
    def is_constant(self) -> bool:
        """Whether no two rows differ; a value that some rows lack is not constant."""
        if self.kind == "text":
            return len(set(self.texts)) == 1
        return self.kind == "empty" or bool((self.numbers == self.numbers[:1]).all())

    def as_texts(self) -> Sequence[str | None]:
        """Return the values as text: an integer without a decimal point, a boolean as True."""
        if self.kind == "text":
            return self.texts
        is_boolean = self.kind == "boolean"
        return [None if math.isnan(x) else number_text(x, is_boolean) for x in self.numbers]


def number_text(number: float, is_boolean: bool = False) -> str:  # noqa: FBT001, FBT002
    """Return a number as text, without a decimal point if it is an integer."""
    if is_boolean:
        return str(bool(number))
    is_integer = isinstance(number, int) or float(number).is_integer()
    return str(int(number)) if is_integer else repr(float(number))


class Table:
    """A frame whose columns are read one at a time.

    Args:
        frame: The frame.

    Raises:
        TypeError: If ``frame`` is no frame in memory, or a name of a column is no string.
        DataError: If two columns have the same name.
        MissingDependencyError: If narwhals is not installed.
    """

    def __init__(self, frame: Frame) -> None:
        rule = "a pandas or polars DataFrame"
        is_lazy = hasattr(frame, "collect")  # asking it for its columns would warn
        given: object = None if is_lazy else getattr(frame, "columns", None)
        if given is None or callable(given) or isinstance(given, str):
            cure = "collect it first" if is_lazy else "pandas.DataFrame(...) makes one"
            raise TypeError(error_message("frame", rule, Unquoted(type(frame).__name__), cure))
        try:
            nw = importlib.import_module("narwhals")
        except ImportError as error:
            raise MissingDependencyError(
                "tables must be read with narwhals, which is not installed; "
                "pip install 'mlpkit[tables]'"
            ) from error
        names = [] if not isinstance(given, Iterable) else list(given)
        for name in names:
            if not isinstance(name, str):
                cure = "frame.columns = frame.columns.astype(str) makes them strings"
                raise TypeError(error_message("frame.columns", "strings", name, cure))
        check_distinct(names)
        try:
            self._frame: narwhals.DataFrame[Any] = nw.from_native(frame, eager_only=True)
        except TypeError as error:
            found = Unquoted(type(frame).__name__)
            raise TypeError(error_message("frame", rule, found)) from error
        self.columns: tuple[str, ...] = tuple(map(str, names))

    def __len__(self) -> int:
        return len(self._frame)

    def select(self, rows: npt.NDArray[np.int64]) -> Table:
        """Return the rows at the given indices."""
        selected = object.__new__(Table)
        selected._frame = self._frame[rows, :]
        selected.columns = self.columns
        return selected

    def check_column(self, argument: str, name: object) -> str:
        """Return the name of a column of this table.

        Raises:
            TypeError: If it is no string.
            ValueError: If there is no such column; the message suggests the nearest name.
        """
        if not isinstance(name, str):
            raise TypeError(error_message(argument, "the name of a column", name))
        if name in self.columns:
            return name
        meant = nearest(name, self.columns)
        listed = ", ".join(self.columns[:20]) + (", ..." if len(self.columns) > 20 else "")
        cure = f"there are {listed}" if meant is None else f"did you mean {meant!r}?"
        raise ValueError(error_message(argument, "the name of a column", name, cure))

    def read(self, name: str) -> Values:
        """Return the values of a column.

        Raises:
            DataError: If they are dates, infinite, or neither numbers nor booleans nor text.
        """
        series = self._frame[name]
        dtype = series.dtype
        missing: npt.NDArray[np.bool_] = series.is_null().to_numpy().astype(bool)
        if dtype.is_temporal():
            raise DataError(_date_message(name, dtype))
        if missing.all():
            return Values(name=name, kind="empty", numbers=np.full(len(missing), np.nan))
        if dtype.is_numeric():
            kind: ValueKind = "integer" if dtype.is_integer() else "number"
            return self._numbers(name, kind, series, missing)
        if str(dtype) == "Boolean":
            return self._numbers(name, "boolean", series, missing)
        items = series.to_list()
        texts = [None if gone else item for item, gone in zip(items, missing, strict=True)]
        is_categorical = str(dtype) == "Categorical" or str(dtype).startswith("Enum")
        if is_categorical or str(dtype) == "String":
            return Values(
                name=name,
                kind="text",
                numbers=np.empty(0),
                texts=_as_texts(texts),
                is_categorical=is_categorical,
            )
        return _from_objects(name, texts)

    @staticmethod
    def _numbers(
        name: str,
        kind: ValueKind,
        series: narwhals.Series[Any],
        missing: npt.NDArray[np.bool_],
    ) -> Values:
        """Return a column of a numeric or boolean dtype."""
        float64 = importlib.import_module("narwhals").Float64
        values = np.array(series.cast(float64).to_numpy(), dtype=np.float64)
        values[missing] = np.nan
        (large,) = np.nonzero(np.abs(values) >= _LARGEST_EXACT)
        if len(large) and not series.dtype.is_float():
            _check_exact(name, large, series[large.tolist()].to_list(), values)
        return checked_numbers(name, kind, values)


def check_distinct(names: Iterable[object]) -> None:
    """Raise DataError if two columns have the same name."""
    for name, count in Counter(map(str, names)).items():
        if count > 1:
            cure = "rename or leave out one of them"
            raise DataError(error_message("the names of the columns", "distinct", name, cure))


def as_table(frame: Frame) -> Table:
    """Return a table as it is, and a frame as a table."""
    return frame if isinstance(frame, Table) else Table(frame)


def _check_exact(
    name: str, rows: npt.NDArray[np.int64], items: Sequence[object], values: Floats
) -> None:
    """Refuse a large number that float64 rounds, since it may merge with others."""
    for row, item, number in zip(rows.tolist(), items, values[rows].tolist(), strict=True):
        exact = int(item) if isinstance(item, numbers.Integral) else item  # of NumPy: no rounding
        if exact != number:
            rule = f"of integers up to 2**53, or larger ones that float64 holds exactly (row {row})"
            cure = (
                "subtract a constant from its numbers, convert it to text for categories, "
                "or drop or ignore it if it identifies the rows"
            )
            is_short = not isinstance(item, int) or item.bit_length() < 400
            found = item if is_short else Unquoted("an integer of more than 120 digits")
            raise DataError(error_message(f"column {name!r}", rule, found, cure))


def checked_numbers(name: str, kind: ValueKind, values: Floats) -> Values:
    """Return numbers, none of which is infinite."""
    infinite = np.isinf(values)
    if infinite.any():
        row = int(infinite.argmax())
        cure = f"see row {row}, counted from 0; infinity may stand for a missing value"
        raise DataError(
            error_message(f"column {name!r}", "finite or missing", float(values[row]), cure)
        )
    return Values(name=name, kind="empty" if np.isnan(values).all() else kind, numbers=values)


def _as_texts(items: Sequence[object]) -> list[str | None]:
    """Return text and the categories of a categorical dtype as text; None stays None."""
    return [
        item
        if item is None or isinstance(item, str)
        else number_text(item, isinstance(item, bool))
        if isinstance(item, int | float)
        else str(item)
        for item in items
    ]


def _from_objects(name: str, items: Sequence[object]) -> Values:
    """Return a column of Python objects, all of one kind; None is missing."""
    present = [item for item in items if item is not None]
    if all(isinstance(item, str) for item in present):
        return Values(name=name, kind="text", numbers=np.empty(0), texts=_as_texts(items))
    if any(isinstance(item, datetime.date | datetime.timedelta) for item in present):
        raise DataError(_date_message(name, type(present[0]).__name__))
    kind: ValueKind = "number"
    if all(isinstance(item, bool | np.bool_) for item in present):
        kind = "boolean"
    elif all(isinstance(item, numbers.Integral) for item in present):
        kind = "integer"
    try:
        floats = [math.nan if item is None else _as_float(item) for item in items]
    except TypeError:
        found = " and ".join(sorted({type(item).__name__ for item in present}))
        cure = "drop or ignore it, or convert it to numbers or text"
        raise DataError(
            error_message(f"column {name!r}", "numbers, booleans or text", Unquoted(found), cure)
        ) from None
    values = np.array(floats)
    (large,) = np.nonzero(np.abs(values) >= _LARGEST_EXACT)
    _check_exact(name, large, [items[row] for row in large.tolist()], values)
    return checked_numbers(name, kind, values)


def _as_float(item: object) -> float:
    """Return a number that is no text as a float; others raise TypeError."""
    if isinstance(item, str | bytes | complex) or not hasattr(item, "__float__"):
        raise TypeError
    try:
        return float(item)
    except OverflowError:  # an integer beyond the largest float
        return math.inf


def _date_message(name: str, dtype: object) -> str:
    """Return the error message for a column of dates or times."""
    cure = (
        "drop or ignore it, or convert it to numbers, such as the day of the year or the days "
        "since a date"
    )
    return error_message(
        f"column {name!r}", "numbers, booleans or text", Unquoted(f"dates or times ({dtype})"), cure
    )
