"""How each kind of column becomes numbers: one class for each kind, fitted on training rows."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Final, Self

import numpy as np
import numpy.typing as npt

from mlpkit import _serialization
from mlpkit._checks import (
    Check,
    Unquoted,
    check_bool,
    check_choice,
    check_float,
    check_tuple,
    error_message,
    store_checked,
)
from mlpkit._serialization import JSONValue
from mlpkit.data.tables._frame import Floats, Values
from mlpkit.errors import ConfigError, DataError

__all__ = [
    "COLUMNS",
    "BooleanColumn",
    "CategoryColumn",
    "Column",
    "ConstantColumn",
    "NumberColumn",
    "check_text",
    "check_texts",
    "column_from_dict",
    "fit_column",
    "places_of",
]

_MOST_ONE_HOT: Final = 1000  # each is a column of the inputs
_MOST_CODES: Final = 2**24  # whole numbers that float32 holds exactly
_FEW: Final = 20  # so few different values may each occur once
_NUMBER = re.compile(r"\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?\s*")
_WRITTEN_NUMBER = re.compile(r"\s*[-+]?[$€£¥]?\s*[-+]?[\d.,' ]+\s*[%$€£¥]?\s*")
_DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}")


def check_text(argument: str, value: object) -> str:
    """Return ``value`` if it is a string."""
    if not isinstance(value, str):
        raise TypeError(error_message(argument, "a string", value))
    return str(value)


def check_texts(argument: str, value: object, *, what: str = "") -> tuple[str, ...]:
    """Return ``value`` as a tuple if it has one or more distinct strings; ``what`` says of what."""
    rule = "one or more distinct strings" + (f", {what}" if what else "")
    texts = check_tuple(argument, value, check_text, rule=rule)
    if not texts or len(set(texts)) < len(texts):
        raise ValueError(error_message(argument, rule, list(texts)))
    return texts


@dataclass(frozen=True, kw_only=True, slots=True)
class Column(ABC):
    """A column of a table, fitted on training rows.

    Attributes:
        kind: Name of the class in the JSON form.
        name: Name of the column.
    """

    kind: ClassVar[str]
    checks: ClassVar[Mapping[str, Check[object]]]

    name: str

    def __post_init__(self) -> None:
        store_checked(self, self.checks, prefix=f"{type(self).__name__}.")

    @classmethod
    @abstractmethod
    def fit(cls, values: Values) -> Self:
        """Return the encoder of a column with at least one value that is not missing."""

    @property
    @abstractmethod
    def feature_names(self) -> tuple[str, ...]:
        """Name of each number that the column becomes."""

    @abstractmethod
    def encode(self, values: Values, out: npt.NDArray[np.floating]) -> None:
        """Write the numbers, (N, number of features), into ``out``, which holds zeros."""

    def to_dict(self) -> dict[str, JSONValue]:
        """Return the fitted state as JSON values."""
        return {"kind": self.kind, **_serialization.to_dict(self)}


@dataclass(frozen=True, kw_only=True, slots=True)
class NumberColumn(Column):
    """Numbers in their units; a missing value is replaced by the median of the training rows.

    Attributes:
        median: Median of the training rows.
        has_missing: Whether values were missing there; then a second feature is 1 where a value is
            missing.
    """

    kind: ClassVar[str] = "number"
    checks: ClassVar[Mapping[str, Check[object]]] = MappingProxyType(
        {"name": check_text, "median": check_float, "has_missing": check_bool}
    )

    median: float
    has_missing: bool = False

    @classmethod
    def fit(cls, values: Values) -> Self:
        """Measure the median."""
        missing = values.missing
        with np.errstate(over="ignore"):
            median = np.median(values.numbers[~missing])
        if not np.isfinite(median):  # the sum of two huge numbers is infinite
            median = 2 * np.median(values.numbers[~missing] / 2)
        return cls(name=values.name, median=float(median), has_missing=bool(missing.any()))

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The name, and the indicator of missing values."""
        return (self.name, _missing_name(self.name)) if self.has_missing else (self.name,)

    def encode(self, values: Values, out: npt.NDArray[np.floating]) -> None:
        """Write the numbers, and where they were missing."""
        numbers = _as_numbers(values, "numbers")
        _fill(numbers, self.median, out, has_missing=self.has_missing)


@dataclass(frozen=True, kw_only=True, slots=True)
class BooleanColumn(Column):
    """True as 1 and False as 0; a missing value is replaced by the more frequent of the two.

    Attributes:
        fill: The more frequent value of the training rows.
        has_missing: Whether values were missing there; then a second feature is 1 where a value is
            missing.
    """

    kind: ClassVar[str] = "boolean"
    checks: ClassVar[Mapping[str, Check[object]]] = MappingProxyType(
        {"name": check_text, "fill": check_bool, "has_missing": check_bool}
    )

    fill: bool
    has_missing: bool = False

    @classmethod
    def fit(cls, values: Values) -> Self:
        """Find the more frequent value."""
        missing = values.missing
        fill = bool(values.numbers[~missing].mean() > 0.5)
        return cls(name=values.name, fill=fill, has_missing=bool(missing.any()))

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The name, and the indicator of missing values."""
        return (self.name, _missing_name(self.name)) if self.has_missing else (self.name,)

    def encode(self, values: Values, out: npt.NDArray[np.floating]) -> None:
        """Write 0 or 1, and where they were missing."""
        numbers = _as_numbers(values, "booleans")
        wrong = ~np.isnan(numbers) & (numbers != 0) & (numbers != 1)
        if wrong.any():
            raise DataError(_kind_message(values, "booleans", int(wrong.argmax())))
        _fill(numbers, float(self.fill), out, has_missing=self.has_missing)


@dataclass(frozen=True, kw_only=True, slots=True)
class CategoryColumn(Column):
    """Text as one-hot features; a category that the training rows do not have is all zeros.

    Attributes:
        categories: The different texts of the training rows, sorted.
        has_missing: Whether values were missing there; then a missing value is a category, with
            the last feature. Otherwise it is all zeros.
    """

    kind: ClassVar[str] = "category"
    checks: ClassVar[Mapping[str, Check[object]]] = MappingProxyType(
        {"name": check_text, "categories": check_texts, "has_missing": check_bool}
    )

    categories: tuple[str, ...]
    has_missing: bool = False

    @classmethod
    def fit(cls, values: Values, *, most: int = _MOST_ONE_HOT) -> Self:
        """Find the categories; refuse dates, and text that identifies the rows."""
        texts = values.as_texts()
        found = {text for text in texts if text is not None}
        present = sum(text is not None for text in texts)
        _check_repeats(values, found, present, most)
        return cls(
            name=values.name, categories=tuple(sorted(found)), has_missing=present < len(texts)
        )

    @property
    def feature_names(self) -> tuple[str, ...]:
        """One feature for each category, then the indicator of missing values."""
        names = tuple(f"{self.name}={category}" for category in self.categories)
        return (*names, _missing_name(self.name)) if self.has_missing else names

    @property
    def num_categories(self) -> int:
        """Number of categories; missing values are one if training had some."""
        return len(self.categories) + self.has_missing

    def codes(self, values: Values) -> npt.NDArray[np.int64]:
        """Return the position of each category among the features, -1 for none, (N,)."""
        places = places_of(f"column {self.name!r}", self.categories, values)
        if self.has_missing:
            places[values.missing] = len(self.categories)
        return places

    def encode(self, values: Values, out: npt.NDArray[np.floating]) -> None:
        """Write a 1 in the column of each category."""
        places = self.codes(values)
        (rows,) = np.nonzero(places >= 0)
        out[rows, places[rows]] = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class ConstantColumn(Column):
    """A column with one value in all training rows, or none: it says nothing and is left out."""

    kind: ClassVar[str] = "constant"
    checks: ClassVar[Mapping[str, Check[object]]] = MappingProxyType({"name": check_text})

    @classmethod
    def fit(cls, values: Values) -> Self:
        """Keep the name."""
        return cls(name=values.name)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """No feature."""
        return ()

    def encode(self, values: Values, out: npt.NDArray[np.floating]) -> None:
        """Write nothing."""


#: Each kind of column by its name in the JSON form.
COLUMNS: Mapping[str, type[Column]] = MappingProxyType(
    {each.kind: each for each in (NumberColumn, BooleanColumn, CategoryColumn, ConstantColumn)}
)


def fit_column(values: Values, *, codes: bool = False) -> Column:
    """Return the encoder for a column of training rows; codes may be of thousands of categories.

    Raises:
        DataError: If the column is text that is different in nearly every row, or has dates.
    """
    if values.is_constant:
        return ConstantColumn.fit(values)
    if values.kind == "text":
        return CategoryColumn.fit(values, most=_MOST_CODES if codes else _MOST_ONE_HOT)
    return BooleanColumn.fit(values) if values.kind == "boolean" else NumberColumn.fit(values)


def column_from_dict(argument: str, values: object) -> Column:
    """Return a column from its JSON form.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is out of range.
        ConfigError: If a key is unknown or missing.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(error_message(argument, "an object", values))
    kind = check_choice(f"{argument}.kind", values.get("kind"), tuple(COLUMNS))
    fields = {str(key): value for key, value in values.items() if key != "kind"}
    return _serialization.from_dict(COLUMNS[kind], fields)


def places_of(
    subject: str, names: Sequence[str], values: Values, *, convert_text: bool = False
) -> npt.NDArray[np.int64]:
    """Return the place of each value among texts, -1 for others, int64 of shape (N,).

    A number or a boolean that is not written there is found by its value, so ``1`` is ``"01"``,
    ``"1.0"`` or ``"True"``.

    Args:
        subject: Name of the column in messages.
        names: The texts.
        values: The values.
        convert_text: Whether text is found by its value as numbers are, so ``"1.0"`` is ``"1"``.

    Raises:
        DataError: If a value may be two of the texts.
    """
    index = {name: place for place, name in enumerate(names)}
    by_value: dict[float, list[str]] = {}
    for name in names:
        value = _value_of(name)
        if value is not None:
            by_value.setdefault(value, []).append(name)
    texts = values.as_texts()
    distinct: dict[str | None, int] = {None: -1}
    for row, text in enumerate(texts):
        if text is None or text in distinct:
            continue
        distinct[text] = index.get(text, -1)
        is_text = values.kind == "text"
        if is_text and (text in index or not convert_text):
            continue
        value = _value_of(text)
        same = [] if value is None else by_value.get(value, [])
        if len(same) > 1:
            listed = " and ".join(map(repr, same[:5]))
            rule = f"text where training had {listed}, which are the same number"
            cure = f"read the column as text; see row {row}, counted from 0"
            raise DataError(error_message(subject, rule, Unquoted(text), cure))
        if same:
            distinct[text] = index[same[0]]
    return np.array([distinct[text] for text in texts], dtype=np.int64)


def _value_of(text: str) -> float | None:
    """Return the value of text that is a number, 1 for true, 0 for false, else None."""
    if text.lower() in ("true", "false"):
        return float(text.lower() == "true")
    return float(text) if _NUMBER.fullmatch(text) else None


def _missing_name(name: str) -> str:
    """Return the name of the feature that is 1 where a value is missing."""
    return f"{name} is missing"


def _fill(
    numbers: Floats, replacement: float, out: npt.NDArray[np.floating], *, has_missing: bool
) -> None:
    """Write numbers with replaced missing values, and the indicator if there is one."""
    missing = np.isnan(numbers)
    out[:, 0] = np.where(missing, replacement, numbers)
    if has_missing:
        out[:, 1] = missing


def _as_numbers(values: Values, expected: str) -> Floats:
    """Return the values of a column that is not text."""
    if values.kind != "text":
        return values.numbers
    row = next(index for index, text in enumerate(values.texts) if text is not None)
    raise DataError(_kind_message(values, expected, row))


def _kind_message(values: Values, expected: str, row: int) -> str:
    """Return the error message for a column of another kind than in the training rows."""
    found = values.as_texts()[row]
    return error_message(
        f"column {values.name!r}",
        f"{expected}, as in the training rows",
        found,
        f"see row {row}, counted from 0",
    )


def _check_repeats(values: Values, found: set[str], present: int, most: int) -> None:
    """Refuse text with a different value in most rows, or with very many values.

    A categorical dtype says that the values are categories, also if most of them occur once.
    """
    name = values.name
    is_repeated = values.is_categorical or 2 * len(found) <= present
    if len(found) <= _FEW or (is_repeated and len(found) <= most):
        return
    others = sorted(text for text in found if not _NUMBER.fullmatch(text))
    cure = "drop or ignore it if it identifies the rows, or group its values first"
    if not is_repeated and len(found) <= most:
        cure += "; a categorical dtype accepts it as it is"
    if all(_DATE.match(text) for text in found):
        cure = "drop or ignore it, or convert dates to numbers such as the day of the year"
    elif 0 < len(others) <= len(found) // 10:
        cure = f"leave fields such as {others[0]!r} empty if they are missing numbers"
    elif not others:
        cure = f"convert it to a numeric dtype if it has numbers; {cure}"
    elif all(_WRITTEN_NUMBER.fullmatch(text) for text in found):
        cure = "write its numbers with a decimal point and no other characters"
    rule = f"text with at most {most} different values" if is_repeated else "text that repeats"
    got = Unquoted(f"{len(found)} different values in {present} rows")
    raise DataError(error_message(f"column {name!r}", rule, got, cure))
