"""TableEncoder: the columns of a table as numbers, with statistics of the training rows."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor

from mlpkit import _serialization
from mlpkit._checks import Unquoted, check_choice, check_int, error_message, nearest
from mlpkit._serialization import JSONValue
from mlpkit.data.tables._columns import (
    CategoryColumn,
    Column,
    NumberColumn,
    column_from_dict,
    fit_column,
)
from mlpkit.data.tables._frame import Frame, Table, Values, as_table, number_text
from mlpkit.data.tables._target import FloatName, TableTarget, TargetTask, fits_float32
from mlpkit.errors import ConfigError, DataError

__all__ = ["CategoryEncoding", "TableEncoder", "require_target"]

CategoryEncoding: TypeAlias = Literal["one_hot", "codes"]

_VERSION: Final = 1
_MOST_SHOWN: Final = 10  # columns of an error message


@dataclass(frozen=True, kw_only=True, slots=True)
class TableEncoder:
    """Convert the columns of a table to numbers, with statistics of the training rows.

    Build one with :meth:`fit`; the constructor takes a fitted state. Frames are those of pandas or
    polars. Each column of the training rows becomes:

    - numbers: one feature in the units of the column, since the model standardizes its inputs. A
      missing value is replaced by the median. If values were missing in training, a second feature
      is 1 where a value is missing and 0 elsewhere.
    - booleans: 0 or 1. A missing value is replaced by the more frequent of the two, with a second
      feature as for numbers.
    - text and categorical dtypes: one feature for each category, in sorted order, of which one is 1
      (one-hot). A category that training did not have is all zeros. If values were missing in
      training, a missing value is a category with the last feature; otherwise it is all zeros.
      With ``categories="codes"`` it is one feature with the number of the category, from 0 in
      sorted order, and -1 instead of all zeros: the input of :class:`mlpkit.nn.TabularMLP`.
    - columns with one value in all training rows: no feature.

    Dates and times, text that differs in most rows, as identifiers do, and more than 1,000 one-hot
    categories are refused with advice, as are integers beyond 2**53 that float64 would merge. A
    column of a categorical dtype may differ in most rows.

    Attributes:
        columns: The fitted columns, in the order of the training frame.
        target: What the target columns mean; None without a target.
        dtype: Dtype of the inputs: ``"float32"``, or ``"float64"`` if float32 would merge values
            of a column, for instance of time stamps.
        categories: ``"one_hot"``, or ``"codes"`` for one feature with the number of the category.

    Raises:
        TypeError: If a field has the wrong type.
        ValueError: If no column has a feature, a column occurs twice, or the dtype cannot hold a
            median.
        DataError: If two features have the same name, such as the category ``red`` of a column
            ``color`` and a column ``color=red``.

    Example:
        >>> import pandas as pd
        >>> from mlpkit.data import TableEncoder
        >>> frame = pd.DataFrame(
        ...     {"age": [20.0, None, 40.0], "city": ["Rome", "Oslo", "Rome"], "sold": [1, 0, 1]}
        ... )
        >>> encoder = TableEncoder.fit(frame, target="sold")
        >>> encoder.feature_names
        ('age', 'age is missing', 'city=Oslo', 'city=Rome')
        >>> encoder.transform(pd.DataFrame({"city": ["Bonn", "Oslo"], "age": [25.0, None]}))
        tensor([[25.,  0.,  0.,  0.],
                [30.,  1.,  1.,  0.]])
        >>> encoder = TableEncoder.fit(frame, target="sold", categories="codes")
        >>> encoder.feature_names, encoder.num_categories
        (('age', 'age is missing', 'city'), (0, 0, 2))
    """

    columns: tuple[Column, ...]
    target: TableTarget | None = None
    dtype: FloatName = "float32"
    categories: CategoryEncoding = "one_hot"

    def __post_init__(self) -> None:
        dtype: FloatName = check_choice("dtype", self.dtype, get_args(FloatName))
        object.__setattr__(self, "dtype", dtype)
        names = get_args(CategoryEncoding)
        categories: CategoryEncoding = check_choice("categories", self.categories, names)
        object.__setattr__(self, "categories", categories)
        given: object = self.columns
        if not isinstance(given, tuple | list) or not all(isinstance(c, Column) for c in given):
            raise TypeError(error_message("columns", "a sequence of fitted columns", given))
        object.__setattr__(self, "columns", tuple(given))
        target: object = self.target
        if target is not None and not isinstance(target, TableTarget):
            raise TypeError(error_message("target", "a TableTarget or None", target))
        columns = [column.name for column in self.columns]
        columns += [] if self.target is None else self.target.names
        if len(set(columns)) < len(columns):
            rule = "distinct in name, also from the target"
            raise ValueError(error_message("columns", rule, columns))
        self._check_features()
        if not self.feature_names:
            rule = "of at least two values in some column"
            found = Unquoted(f"{len(self.columns)} columns without a feature")
            raise ValueError(error_message("columns", rule, found, "add columns that vary"))

    def _check_features(self) -> None:
        """Refuse two features of one name, and medians that the dtype cannot hold."""
        origin: dict[str, str] = {}
        for column in self.columns:
            for name in self._features(column):
                if name in origin:
                    rule = f"distinct in their features (from {origin[name]!r} and {column.name!r})"
                    cure = "rename one of the columns, or ignore it"
                    raise DataError(error_message("columns", rule, name, cure))
                origin[name] = column.name
            limit = float(np.finfo(self.dtype).max)
            if isinstance(column, NumberColumn) and abs(column.median) > limit:
                rule = f"within the range of {self.dtype}"
                raise ValueError(
                    error_message(f"the median of column {column.name!r}", rule, column.median)
                )

    @classmethod
    def fit(
        cls,
        frame: Frame,
        *,
        target: str | Sequence[str] | TableTarget | None = None,
        task: TargetTask | None = None,
        classes: Sequence[str] | None = None,
        ignore: str | Sequence[str] = (),
        categories: CategoryEncoding = "one_hot",
    ) -> TableEncoder:
        """Return an encoder fitted on training rows.

        Args:
            frame: The training rows, and no others: medians and categories are taken from them.
            target: Name of the column to predict, or several names, or what was found for more rows
                than these; None for inputs alone.
            task: What the targets are. None finds it: text, booleans and at most 20 different
                integers that repeat are classes; other numbers are a regression; several columns of
                0 and 1 are labels; several columns of other numbers are a regression.
            classes: Name of each class, in the order of the class indices; None takes the sorted
                values of the target.
            ignore: Name of a column that is left out, or several names.
            categories: ``"one_hot"``, or ``"codes"`` for one feature with the number of the
                category, which may be one of thousands.

        Raises:
            TypeError: If ``frame`` is no frame, or another argument has the wrong type.
            ValueError: If a column does not exist, or ``task`` or ``classes`` does not fit.
            DataError: If a column cannot be used, such as dates, identifiers or a target with
                missing values; the message names it. If there are no rows.
            MissingDependencyError: If narwhals is not installed.
        """
        table = as_table(frame)
        if not len(table):
            rule = "a frame with rows"
            raise DataError(error_message("frame", rule, Unquoted("no rows")))
        names_to_ignore = (ignore,) if isinstance(ignore, str) else ignore
        left_out = {table.check_column("ignore", name) for name in names_to_ignore}
        meaning = target if isinstance(target, TableTarget) else None
        if meaning is None and target is not None:
            assert not isinstance(target, TableTarget)
            names = (target,) if isinstance(target, str) else target
            meaning = TableTarget.fit(table, names, task=task, classes=classes)
        elif target is None and (task, classes) != (None, None):
            rule = "given with task or classes"
            raise ValueError(error_message("target", rule, None, "name the column to predict"))
        for name in () if meaning is None else meaning.names:
            if name in left_out:
                raise ValueError(error_message("ignore", "columns besides the target", name))
            left_out.add(name)
        kept = [name for name in table.columns if name not in left_out]
        values, columns = _fit_columns(table, kept, codes=categories == "codes")
        if not any(column.feature_names for column in columns):
            rule = "a table with a column of at least two values besides the target"
            found = Unquoted("none" if not columns else f"{len(columns)} with one value")
            raise DataError(error_message("frame", rule, found, "add a column that varies"))
        is_exact = all(each.kind == "text" or fits_float32(each.numbers) for each in values)
        dtype: FloatName = "float32" if is_exact else "float64"
        return cls(columns=columns, target=meaning, dtype=dtype, categories=categories)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Name of each feature in order, such as ``age``, ``age is missing`` and ``city=Oslo``."""
        return tuple(name for column in self.columns for name in self._features(column))

    @property
    def num_categories(self) -> tuple[int, ...]:
        """Number of categories of each feature, 0 for a number and for a one-hot feature."""
        found: list[int] = []
        for column in self.columns:
            coded = self._coded(column)
            found += [coded.num_categories] if coded else [0] * len(column.feature_names)
        return tuple(found)

    def _coded(self, column: Column) -> CategoryColumn | None:
        """Return the column if it becomes one feature with the number of the category."""
        return column if self.categories == "codes" and isinstance(column, CategoryColumn) else None

    def _features(self, column: Column) -> tuple[str, ...]:
        """Return the name of each feature of a column."""
        return (column.name,) if self._coded(column) else column.feature_names

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Names of the columns that are read as text, even if they look like numbers."""
        names = [column.name for column in self.columns if isinstance(column, CategoryColumn)]
        classes = None if self.target is None else self.target.classes
        if self.target is not None and any(map(_looks_like_another_number, classes or ())):
            names += self.target.names
        return tuple(names)

    def transform(self, frame: Frame) -> Tensor:
        """Return the inputs of a frame, shape ``(N, len(feature_names))``.

        Columns are found by name, in any order. Other columns, such as the target, are not read.

        Args:
            frame: The rows; every column with a feature must be there. Numbers may have any numeric
                dtype, and categories may be text, integers or a categorical dtype.

        Raises:
            TypeError: If ``frame`` is no frame.
            DataError: If a column is missing, has values of another kind than in training, or
                numbers that the dtype cannot hold.
        """
        table = as_table(frame)
        self._check_columns(table)
        out = np.zeros((len(table), len(self.feature_names)), dtype=self.dtype)
        start = 0
        for column in self.columns:
            width = len(self._features(column))
            if not width:
                continue
            values = table.read(column.name)
            if isinstance(column, NumberColumn):
                self._check_range(values)
            coded = self._coded(column)
            if coded:
                out[:, start] = coded.codes(values)
            else:
                column.encode(values, out[:, start : start + width])
            start += width
        return torch.from_numpy(out)

    def _check_columns(self, table: Table) -> None:
        """Refuse a table that lacks a column."""
        needed = [column.name for column in self.columns if column.feature_names]
        given = set(table.columns)
        missing = [name for name in needed if name not in given]
        if not missing:
            return
        known = {column.name for column in self.columns}
        known |= set(() if self.target is None else self.target.names)
        others = [name for name in table.columns if name not in known]
        meant = nearest(missing[0], others)
        cure = f"did you mean the column {meant!r}?" if meant else None
        listed = ", ".join(missing[:10]) + (", ..." if len(missing) > 10 else "")
        rule = f"a table with the columns of the training rows, {', '.join(needed[:20])}"
        found = Unquoted(f"one without {listed}")
        raise DataError(error_message("frame", rule, found, cure))

    def _check_range(self, values: Values) -> None:
        """Refuse numbers that would become infinite."""
        if values.kind in ("text", "empty") or self.dtype == "float64":
            return
        largest = float(np.nanmax(np.abs(values.numbers)))
        if largest > float(np.finfo(np.float32).max):
            rule = "of numbers within the range of float32, as in the training rows"
            raise DataError(error_message(f"column {values.name!r}", rule, largest))

    def transform_target(self, frame: Frame) -> Tensor:
        """Return the targets of a frame.

        Shape:
            - Class indices: int64, ``(N,)``.
            - Labels: float32, ``(N, L)``.
            - Regression: floating-point, ``(N,)`` for one column, else ``(N, D)``.

        Raises:
            ValueError: If the encoder was fitted without a target, or a column does not exist.
            DataError: If a value is missing, or is not one of the classes.
        """
        return require_target(self).encode(as_table(frame))

    def to_dict(self) -> dict[str, JSONValue]:
        """Return the fitted state as JSON values."""
        return {
            "version": _VERSION,
            "dtype": self.dtype,
            "columns": [column.to_dict() for column in self.columns],
            "target": None if self.target is None else _serialization.to_dict(self.target),
            # only if it is not the default: earlier versions do not know it
            **({} if self.categories == "one_hot" else {"categories": self.categories}),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> TableEncoder:
        """Return an encoder from the values of :meth:`to_dict`.

        Raises:
            TypeError: If a value has the wrong type.
            ValueError: If a value is out of range.
            ConfigError: If a key is unknown or missing, or the version is unknown.
        """
        given: object = values
        keys = {"version", "dtype", "columns", "target"}
        if not isinstance(given, Mapping) or given.keys() - {"categories"} != keys:
            found = sorted(map(str, given)) if isinstance(given, Mapping) else given
            raise ConfigError(
                error_message("encoder", f"an object with the keys {sorted(keys)}", found)
            )
        if check_int("encoder.version", given["version"], minimum=1) != _VERSION:
            cure = "load it with the version of mlpkit that wrote it"
            raise ConfigError(
                error_message("encoder.version", str(_VERSION), given["version"], cure)
            )
        columns, target = given["columns"], given["target"]
        if not isinstance(columns, Sequence) or isinstance(columns, str):
            raise ConfigError(error_message("encoder.columns", "a list", columns))
        if target is not None and not isinstance(target, Mapping):
            raise ConfigError(error_message("encoder.target", "an object or null", target))
        return cls(
            columns=tuple(
                column_from_dict(f"encoder.columns[{index}]", column)
                for index, column in enumerate(columns)
            ),
            target=None if target is None else _serialization.from_dict(TableTarget, target),
            dtype=check_choice("encoder.dtype", given["dtype"], get_args(FloatName)),
            categories=given.get("categories", "one_hot"),
        )

    def to_json(self) -> str:
        """Return the fitted state as JSON text."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> TableEncoder:
        """Return an encoder from the text of :meth:`to_json`.

        Raises:
            TypeError: If a value has the wrong type.
            ValueError: If a value is out of range.
            ConfigError: If the text is no JSON, or as in :meth:`from_dict`.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConfigError(
                f"the encoder must be valid JSON, got an error: {error}; write it with to_json"
            ) from error
        return cls.from_dict(values)


def _fit_columns(
    table: Table, names: Sequence[str], *, codes: bool
) -> tuple[list[Values], tuple[Column, ...]]:
    """Return the values of columns, and the encoder of each.

    Raises:
        DataError: If columns cannot be used; the message is about all of them.
    """
    values: list[Values] = []
    columns: list[Column] = []
    refused: list[DataError] = []
    for name in names:
        try:
            read = table.read(name)
            columns.append(fit_column(read, codes=codes))
            values.append(read)
        except DataError as error:
            refused.append(error)
    if len(refused) == 1:
        raise refused[0]
    if refused:
        shown = [f"\n  {error}" for error in refused[:_MOST_SHOWN]]
        more = len(refused) - len(shown)
        rest = f"\n  and {more} others" if more else ""
        raise DataError(f"{len(refused)} columns cannot be used:{''.join(shown)}{rest}")
    return values, tuple(columns)


def require_target(encoder: TableEncoder) -> TableTarget:
    """Return what the target columns of an encoder mean.

    Raises:
        TypeError: If it is no encoder.
        ValueError: If it was fitted without a target.
    """
    given: object = encoder
    if not isinstance(given, TableEncoder):
        raise TypeError(error_message("encoder", "a TableEncoder", type(given)))
    if encoder.target is None:
        cure = "TableEncoder.fit(frame, target=...) fits one"
        raise ValueError(error_message("encoder", "fitted with a target", None, cure))
    return encoder.target


def _looks_like_another_number(text: str) -> bool:
    """Return whether a text would change if it were read as a number, as ``01`` would."""
    try:
        number = float(text)
    except ValueError:
        return False
    return not math.isfinite(number) or number_text(number) != text
