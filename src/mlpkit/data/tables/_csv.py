"""Reading a CSV file with pandas, with checks that name what is wrong with it."""

from __future__ import annotations

import csv
import importlib
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlpkit._checks import Unquoted, error_message
from mlpkit._files import open_regular, printable
from mlpkit.errors import DataError, MissingDependencyError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_csv"]

_SEPARATORS: Final = (",", ";", "\t", "|")
_LINES: Final = 50  # that determine the separator
_MAX_LINE: Final = 2**24  # bytes
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")
_NUMBER = re.compile(r"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?")


def read_csv(path: str | os.PathLike[str], *, text_columns: Sequence[str] = ()) -> pd.DataFrame:
    """Read a CSV file in UTF-8 whose first line has the names of the columns.

    The separator is a comma, semicolon, tab or vertical bar, whichever the first lines have. In
    a file with semicolons, numbers may have a decimal comma. Empty fields and those that pandas
    regards as missing, such as ``NA``, ``NaN`` and ``null``, are missing values. A first column
    without a name, as R and pandas write the names of the rows, is left out.

    Args:
        path: The file.
        text_columns: Names of columns that are text, even if they look like numbers.

    Raises:
        DataError: If the file does not exist, is not UTF-8, has no rows, no names or equal names,
            or lines of different lengths.
        MissingDependencyError: If pandas is not installed.
    """
    try:
        pandas = importlib.import_module("pandas")
    except ImportError as error:
        raise MissingDependencyError(
            "CSV files must be read with pandas, which is not installed; "
            "pip install 'mlpkit[tables]'"
        ) from error
    file = Path(path)
    shown = printable(file)
    try:
        rows, separator = _first_rows(file)
    except UnicodeDecodeError as error:
        raise DataError(_encoding_message(shown, error)) from error
    except OSError as error:
        reason = Unquoted(error.strerror or str(error))
        raise DataError(error_message(shown, "a readable CSV file", reason)) from error
    except csv.Error as error:
        raise DataError(_line_message(shown, str(error))) from error
    names = _check_header(shown, rows)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pandas.errors.ParserWarning)
            frame: pd.DataFrame = pandas.read_csv(
                file,
                sep=separator,
                header=0,
                names=range(len(names)),
                index_col=False,
                encoding="utf-8-sig",
                compression=None,
                decimal="," if separator == ";" and _has_decimal_comma(rows[1:]) else ".",
                skipinitialspace=True,
                # the only field of a row may be missing
                skip_blank_lines=len(names) > 1,
                low_memory=False,
                dtype={place: str for place, name in enumerate(names) if name in text_columns},
            )
    except UnicodeDecodeError as error:
        raise DataError(_encoding_message(shown, error)) from error
    except (pandas.errors.ParserError, pandas.errors.ParserWarning, csv.Error) as error:
        raise DataError(_line_message(shown, str(error))) from error
    except (pandas.errors.EmptyDataError, ValueError) as error:
        raise DataError(error_message(shown, "a CSV file", Unquoted(str(error)))) from error
    if not len(frame):
        raise DataError(_empty_message(shown))
    frame.columns = pandas.Index(names)
    return frame.drop(columns="") if names[0] == "" else frame


def _first_rows(path: Path) -> tuple[list[list[str]], str]:
    """Return the first lines that are not blank, as lists of fields, and the separator."""
    with open_regular(path) as raw:
        lines = [raw.readline(_MAX_LINE) for _ in range(_LINES)]
    texts = [line.decode("utf-8" if place else "utf-8-sig") for place, line in enumerate(lines)]
    best: tuple[list[list[str]], str] = ([], "")
    best_rank = (False, -1)
    for separator in _SEPARATORS:
        reader = csv.reader(texts, delimiter=separator, skipinitialspace=True)
        rows = [row for row in reader if row]
        width = len(rows[0]) if rows else 0
        # the last row may be cut off: a quoted field may have line breaks
        is_even = width > 1 and all(len(row) == width for row in rows[1 : max(2, len(rows) - 1)])
        if (is_even, width) > best_rank:
            best, best_rank = (rows, separator), (is_even, width)
    return best


def _check_header(shown: str, rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the names of the columns; the first may be empty."""
    if not rows or not any(rows[0]):
        rule = "a CSV file whose first line has the names of the columns"
        raise DataError(error_message(shown, rule, Unquoted("an empty first line")))
    names = [name.strip() for name in rows[0]]
    if len(rows) == 1:
        raise DataError(_empty_message(shown))
    for place, name in enumerate(names):
        if not name and place:
            rule = "a CSV file with a name for each column"
            found = Unquoted(f"no name for column {place + 1}")
            raise DataError(error_message(shown, rule, found, "add the name to the first line"))
        if names.count(name) > 1:
            rule = "a CSV file with distinct names of columns"
            cure = "rename or remove one of the columns"
            raise DataError(error_message(shown, rule, f"{name}", cure))
    if all(_NUMBER.fullmatch(name) for name in names):
        rule = "a CSV file whose first line has the names of the columns"
        cure = "add a line of names"
        raise DataError(error_message(shown, rule, Unquoted(f"numbers ({names[0]}...)"), cure))
    return names


def _has_decimal_comma(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether fields such as ``1,5`` occur, and none such as ``1.5``."""
    fields = [field.strip() for row in rows for field in row]
    commas = any(_DECIMAL_COMMA.fullmatch(field) for field in fields)
    return commas and not any("." in f and _NUMBER.fullmatch(f) for f in fields)


def _encoding_message(shown: str, error: UnicodeDecodeError) -> str:
    """Return the error message for a file in another encoding."""
    byte = error.object[error.start]
    cure = "convert it, for instance with: iconv -f latin1 -t utf-8 FILE > NEW"
    return error_message(shown, "UTF-8 text", Unquoted(f"the byte 0x{byte:02x}"), cure)


def _line_message(shown: str, reason: str) -> str:
    """Return the error message for lines of different lengths or open quotes."""
    reason = " ".join(reason.removeprefix("Error tokenizing data. C error: ").split())
    cure = "put quotes around fields that contain the separator"
    rule = "a CSV file with the same number of fields in each line"
    return error_message(shown, rule, Unquoted(f"an error: {reason}"), cure)


def _empty_message(shown: str) -> str:
    """Return the error message for a file without rows."""
    rule = "a CSV file with rows below the names of the columns"
    return error_message(shown, rule, Unquoted("the first line alone"))
