"""History of a run: one row per epoch."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, overload

from mlpkit import _html
from mlpkit._checks import check_float, check_int, error_message
from mlpkit._files import open_regular, write_atomically
from mlpkit._serialization import from_dict
from mlpkit.errors import ConfigError, MissingDependencyError

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["EpochRow", "History"]

_FORMAT = "mlpkit.history"
_VERSION = 1

Number: TypeAlias = "int | float | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRow:
    """Metrics of one epoch of a run; all numbers are finite.

    Attributes:
        epoch: Number of the epoch, from 0.
        step: Number of optimizer steps completed at the end of the epoch.
        lr: Learning rate of the last step of the epoch.
        train_loss: Mean training loss over the epoch, with example and class weights.
        seconds: Duration of the epoch without validation, in seconds.
        examples_per_second: Training examples per second of that duration.
        train_accuracy: Accuracy on the training examples as a fraction, in evaluation mode; None
            for a regression and without ``TrainerConfig(train_metrics=True)``.
        train_rmse: Square root of the mean squared error of a regression on the training examples;
            None for a classifier, and likewise.
        val_loss: Mean validation loss; None if the epoch was not validated.
        val_accuracy: Validation accuracy as a fraction; None without validation or for a
            regression.
        val_error: Validation error as a fraction; None likewise.
        val_rmse: Square root of the mean squared error of a regression on the validation data, in
            the units of the targets; None without validation or for a classifier, and if it is
            unknown which predictions the outputs of the model are.
        val_mae: Mean absolute error of a regression, likewise.
        val_r2: Coefficient of determination of a regression, likewise.
        val_objective_loss: Mean of the objective on the validation data, for a classifier that is
            trained on another loss than ``val_loss``; None otherwise.
        grad_norm: Euclidean norm of the gradient before clipping, mean over the steps of the
            epoch; None if no step has a finite norm.
        metrics: Value of each custom metric on the validation data by name; None without
            validation, and where the value was NaN or infinite. The column of ``f1`` is ``val_f1``.
    """

    epoch: int
    step: int
    lr: float
    train_loss: float
    seconds: float
    examples_per_second: float
    train_accuracy: float | None = None
    train_rmse: float | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None
    val_error: float | None = None
    val_rmse: float | None = None
    val_mae: float | None = None
    val_r2: float | None = None
    val_objective_loss: float | None = None
    grad_norm: float | None = None
    metrics: Mapping[str, float | None] = dataclasses.field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "metrics":
                object.__setattr__(self, field.name, _checked_metrics(value))
                continue
            if field.name in ("epoch", "step"):
                checked: Number = check_int(field.name, value, minimum=0)
            elif value is not None or field.default is dataclasses.MISSING:
                checked = check_float(field.name, value)
            else:
                continue
            object.__setattr__(self, field.name, checked)

    def to_dict(self) -> dict[str, Number]:
        """Return the columns by name; the column of the custom metric ``f1`` is ``val_f1``."""
        columns: dict[str, Number] = {column: getattr(self, column) for column in COLUMNS}
        return columns | {f"val_{name}": value for name, value in self.metrics.items()}

    @classmethod
    def from_dict(cls, columns: Mapping[str, object]) -> EpochRow:
        """Build a row from what :meth:`to_dict` returned.

        Other columns whose names begin with ``val_`` are those of custom metrics.

        Raises:
            ConfigError: If a column is unknown or missing.
        """
        custom = [name for name in columns if name not in COLUMNS and name.startswith("val_")]
        known = {name: value for name, value in columns.items() if name not in custom}
        metrics = {name.removeprefix("val_"): columns[name] for name in custom}
        if "metrics" in known:  # no column
            raise ConfigError(error_message("a key of EpochRow", "a column", "metrics"))
        return from_dict(cls, {**known, "metrics": metrics}, source="the history")


#: The columns of every row; custom metrics add theirs.
COLUMNS = tuple(field.name for field in dataclasses.fields(EpochRow) if field.name != "metrics")


#: The metrics that notebooks show.
_SHOWN = (
    *("train_loss", "val_loss", "val_objective_loss", "val_accuracy"),
    *("val_rmse", "val_mae", "val_r2"),
)


def _format(column: str, value: Number) -> str:
    """Return the text of a cell, with the digits that evaluations print."""
    if value is None or column == "epoch":
        return "" if value is None else str(value)
    if column == "seconds":
        return f"{value:.1f}"
    has_decimals = column in _SHOWN and column not in ("val_rmse", "val_mae")
    return f"{value:.4f}" if has_decimals else f"{value:.4g}"


def _checked_metrics(metrics: object) -> dict[str, float | None]:
    if not isinstance(metrics, Mapping):
        raise TypeError(error_message("metrics", "a mapping from names to numbers", metrics))
    return {
        str(name): None if value is None else check_float(f"metrics[{name!r}]", value)
        for name, value in metrics.items()
    }


class History(Sequence[EpochRow]):
    """The epochs of a run, oldest first: a sequence of :class:`EpochRow`.

    Notebooks and ``print`` show it as a table, without columns that have no value or follow from
    others; of a long history notebooks show the first and the last epochs.

    Two histories are equal if their rows are equal. Files are replaced atomically, so a reader
    never sees a partial file, and numbers are written without loss of precision.

    Args:
        rows: The initial rows.

    Example:
        >>> from mlpkit.training import EpochRow, History
        >>> row = EpochRow(
        ...     epoch=0, step=469, lr=1e-3, train_loss=0.3, seconds=1.2, examples_per_second=5e4
        ... )
        >>> history = History([row])
        >>> history[-1].train_loss
        0.3
        >>> History.from_dict(history.to_dict()) == history
        True
    """

    def __init__(self, rows: Iterable[EpochRow] = ()) -> None:
        self._rows: list[EpochRow] = []
        for row in rows:
            self.append(row)

    def append(self, row: EpochRow) -> None:
        """Add the row of the next epoch.

        Raises:
            ValueError: If the epoch is not after the last one.
        """
        if self._rows and row.epoch <= self._rows[-1].epoch:
            rule = f"greater than the last one ({self._rows[-1].epoch})"
            raise ValueError(error_message("row.epoch", rule, row.epoch))
        self._rows.append(row)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> EpochRow: ...

    @overload
    def __getitem__(self, index: slice) -> History: ...

    def __getitem__(self, index: int | slice) -> EpochRow | History:
        return History(self._rows[index]) if isinstance(index, slice) else self._rows[index]

    def __iter__(self) -> Iterator[EpochRow]:
        return iter(self._rows)

    def __eq__(self, other: object) -> bool:
        return self._rows == other._rows if isinstance(other, History) else NotImplemented

    def __repr__(self) -> str:
        return f"History({self._rows!r})"

    def __str__(self) -> str:
        head, cells = self._cells()
        if not cells:
            return "no epochs"
        sizes = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
        return "\n".join(
            "  ".join(cell.rjust(size) for cell, size in zip(line, sizes, strict=True))
            for line in (head, *cells)
        )

    def _repr_html_(self) -> str:
        head, cells = self._cells()
        return _html.table(head, cells, caption="" if cells else "no epochs", left=0)

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        """Return the columns that have a value and do not follow from others, and their text."""
        rows = self.to_dict()
        custom = [name for name in self.columns if name not in COLUMNS]
        columns = ["epoch", *_SHOWN, *custom, "lr", "seconds"]
        shown = [name for name in columns if any(row.get(name) is not None for row in rows)]
        return shown, [[_format(name, row.get(name)) for name in shown] for row in rows]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of :class:`EpochRow`, then those of the custom metrics."""
        custom = (f"val_{name}" for row in self._rows for name in row.metrics)
        return (*COLUMNS, *dict.fromkeys(custom))

    def to_dict(self) -> list[dict[str, Number]]:
        """Return one dict per epoch, in plain values."""
        return [row.to_dict() for row in self._rows]

    @classmethod
    def from_dict(cls, rows: Sequence[Mapping[str, object]]) -> History:
        """Build a history from what :meth:`to_dict` returned.

        Raises:
            ConfigError: If a column is unknown or missing.
        """
        return cls(EpochRow.from_dict(row) for row in rows)

    def to_json(self) -> str:
        """Return the history as JSON."""
        content = {"format": _FORMAT, "version": _VERSION, "rows": self.to_dict()}
        return json.dumps(content, indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, *, source: str = "the history") -> History:
        """Build a history from what :meth:`to_json` returned; the two are equal.

        Args:
            text: The JSON text.
            source: Name of its origin, for error messages.

        Raises:
            ConfigError: If the text is not a history of the supported version.
        """
        try:
            content = json.loads(text)
        except ValueError as error:
            message = f"{source} must be a history as JSON, got an error: {error}"
            raise ConfigError(message) from error
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise ConfigError(error_message(source, "a history written by to_json", content))
        if content.get("version") != _VERSION:
            rule = f"a history of version {_VERSION}"
            cure = "read it with the version of mlpkit that wrote it"
            raise ConfigError(error_message(source, rule, content.get("version"), cure))
        rows = content.get("rows")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ConfigError(error_message(f"rows in {source}", "a list of objects", rows))
        return cls.from_dict(rows)

    def save_json(self, path: str | os.PathLike[str]) -> Path:
        """Write the history as JSON, and return the path.

        Raises:
            OSError: If the file cannot be written; an existing file is unchanged.
        """
        return write_atomically(path, lambda file: file.write(self.to_json().encode()))

    @classmethod
    def load_json(cls, path: str | os.PathLike[str]) -> History:
        """Read a file that :meth:`save_json` wrote.

        Raises:
            ConfigError: If the file is not a history of the supported version.
            OSError: If the file cannot be read.
        """
        try:
            with open_regular(path) as file:
                text = file.read().decode()
        except UnicodeDecodeError as error:
            message = f"{path} must be a history as JSON, got an error: {error}"
            raise ConfigError(message) from error
        return cls.from_json(text, source=str(path))

    def to_csv(self, path: str | os.PathLike[str]) -> Path:
        """Write a header and one line per epoch as CSV, and return the path.

        Numbers are written without loss of precision; None is an empty field.

        Raises:
            OSError: If the file cannot be written; an existing file is unchanged.
        """
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.to_dict())
        content = text.getvalue().encode()
        return write_atomically(path, lambda file: file.write(content))

    def to_pandas(self) -> DataFrame:
        """Return a data frame with one row per epoch and the columns of the history.

        Raises:
            MissingDependencyError: If pandas is not installed.
        """
        try:
            pandas = importlib.import_module("pandas")
        except ImportError as error:
            raise MissingDependencyError(
                "History.to_pandas needs pandas, which cannot be imported; pip install pandas"
            ) from error
        frame: DataFrame = pandas.DataFrame(self.to_dict(), columns=list(self.columns))
        return frame
