"""Reading a CSV file with pandas, with checks that name what is wrong with it."""

from __future__ import annotations

import codecs
import csv
import importlib
import io
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from mlpkit._checks import Unquoted, error_message
from mlpkit._files import open_regular, printable
from mlpkit.errors import DataError, MissingDependencyError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_csv"]

_SEPARATORS: Final = (",", ";", "\t", "|")
_LINES: Final = 50  # that determine the separator
_MAX_LINE: Final = 2**24  # characters
_LONG: Final = 15  # characters; every shorter integer is exact in float64
_FIELD_CURE: Final = "shorten or remove the field"
_DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+(?:[eE][-+]?\d+)?")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_INTEGER = re.compile(r"[-+]?\d+")
#: Fields that are missing values: those of pandas, in every version.
_MISSING: Final = frozenset(
    """#N/A,#N/A N/A,#NA,-1.#IND,-1.#QNAN,-NaN,-nan,1.#IND,1.#QNAN,<NA>,N/A,NA,NULL,NaN,None,n/a,
nan,null,""".replace("\n", "").split(",")
)


def read_csv(path: str | os.PathLike[str], *, text_columns: Sequence[str] = ()) -> pd.DataFrame:
    """Read a CSV file in UTF-8 whose first line has the names of the columns.

    The separator is a comma, semicolon, tab or vertical bar, whichever the first lines have.
    Spaces at the start and the end of names and fields are removed. Empty fields and those that
    pandas regards as missing, such as ``NA``, ``NaN`` and ``null``, are missing values. A first
    column without a name, as R and pandas write the names of the rows, is left out.

    In a file with semicolons, numbers have decimal commas if some column has such numbers and no
    column has numbers with a decimal point. All lines of the file are considered.

    Args:
        path: The file.
        text_columns: Names of columns that are text, even if they look like numbers.

    Raises:
        DataError: If the file does not exist, is not UTF-8, has no rows, no names or equal names,
            lines of different lengths, or decimal points and decimal commas in one column.
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
        names = _check_header(shown, rows)
        given = set(text_columns)
        text = frozenset(place for place, name in enumerate(names) if name in given)
        fields = _Fields(shown, names, text, separator)
        with _open_text(file) as lines:
            fields.read(lines)
    except UnicodeDecodeError as error:
        raise DataError(_encoding_message(shown, error)) from error
    except OSError as error:
        reason = Unquoted(error.strerror or str(error))
        raise DataError(error_message(shown, "a readable CSV file", reason)) from error
    except csv.Error as error:
        raise DataError(_line_message(shown, str(error), _FIELD_CURE)) from error
    if not fields.num_rows:
        raise DataError(_empty_message(shown))
    frame: pd.DataFrame = pandas.read_csv(
        fields.content(),
        sep=separator,
        header=None,
        names=range(len(names)),
        index_col=False,
        encoding="utf-8",
        decimal="," if fields.has_decimal_comma() else ".",
        na_values=sorted(_MISSING),
        keep_default_na=False,
        skip_blank_lines=False,
        low_memory=False,
        dtype=dict.fromkeys(text | fields.long, str),
    )
    for place in fields.long - text:
        frame[place] = pandas.Series(_exact_numbers(frame[place].tolist()), dtype=object)
    frame.columns = pandas.Index(names)
    return frame.drop(columns="") if names[0] == "" else frame


class _Fields:
    """The fields of a file below the first line, without spaces around them, as CSV.

    Args:
        shown: Name of the file in messages.
        names: Names of the columns.
        text: Places of the columns that are text.
        separator: The separator of the fields.

    Attributes:
        num_rows: Number of rows.
        long: Places of the columns with integers that float64 may merge.
    """

    def __init__(
        self, shown: str, names: Sequence[str], text: frozenset[int], separator: str
    ) -> None:
        self._shown = shown
        self._names = names
        self._separator = separator
        self._bytes = io.BytesIO()
        self.num_rows = 0
        self.long: set[int] = set()
        # columns without text so far, and the first line with a decimal comma and a decimal point
        self._numeric = set(range(len(names))) - text if separator == ";" else set()
        self._commas: dict[int, int] = {}
        self._points: dict[int, int] = {}

    def read(self, text: TextIO) -> None:
        """Read the file; raise DataError for a line of another length or open quotes."""
        out = io.TextIOWrapper(self._bytes, encoding="utf-8", newline="")
        # both ends of lines, so that a field with either of them is quoted
        writer = csv.writer(out, delimiter=self._separator, lineterminator="\r\n")
        width = len(self._names)
        is_header = True
        for line, row in self._records(text):
            if not row and (is_header or width > 1):
                continue  # a blank line; the only field of a row may be missing
            if is_header:
                is_header = False
                continue
            fields = [field.strip() for field in row] or [""]
            if len(fields) != width:
                raise DataError(self._width_message(line, len(fields)))
            if max(map(len, fields)) > _LONG:
                self.long.update(place for place, f in enumerate(fields) if _is_long_integer(f))
            if self._numeric:
                self._find_decimals(line, fields)
            writer.writerow(fields)
            self.num_rows += 1
        out.flush()
        out.detach()

    def content(self) -> io.BytesIO:
        """Return the CSV from its first byte."""
        self._bytes.seek(0)
        return self._bytes

    def has_decimal_comma(self) -> bool:
        """Return whether numbers have decimal commas; raise DataError if a column has both."""
        commas, points = (
            {place: line for place, line in lines.items() if place in self._numeric}
            for lines in (self._commas, self._points)
        )
        for place in sorted(commas.keys() & points.keys()):
            rule = "of numbers with decimal commas or of numbers with decimal points"
            found = f"a comma in line {commas[place]} and a point in line {points[place]}"
            subject = f"column {self._names[place]!r} of {self._shown}"
            cure = "write all its numbers in the same way"
            raise DataError(error_message(subject, rule, Unquoted(found), cure))
        return bool(commas) and not points

    def _records(self, text: TextIO) -> Iterator[tuple[int, list[str]]]:
        """Yield the number of the first line of each record, and its fields."""
        is_at_end = False

        def lines() -> Iterator[str]:
            nonlocal is_at_end
            yield from text
            is_at_end = True

        reader = csv.reader(lines(), delimiter=self._separator, skipinitialspace=True)
        line = 1
        try:
            for row in reader:
                if is_at_end:  # a complete record does not ask for one more line
                    cure = "close them"
                    reason = f"the quotes opened in line {line} are not closed"
                    raise DataError(_line_message(self._shown, reason, cure))
                yield line, row
                line = reader.line_num + 1
        except csv.Error as error:
            reason = f"{error} in line {line}"
            raise DataError(_line_message(self._shown, reason, _FIELD_CURE)) from error

    def _width_message(self, line: int, count: int) -> str:
        """Return the error message for a line of another length."""
        cure = "put quotes around fields that contain the separator"
        if count < len(self._names):
            cure = "complete the line; an empty field is a missing value"
        reason = f"Expected {len(self._names)} fields in line {line}, saw {count}"
        return _line_message(self._shown, reason, cure)

    def _find_decimals(self, line: int, fields: Sequence[str]) -> None:
        """Note which columns have text, decimal commas or decimal points."""
        for place in tuple(self._numeric):
            field = fields[place]
            if field in _MISSING:
                continue
            if _NUMBER.fullmatch(field):
                if "." in field:
                    self._points.setdefault(place, line)
            elif _DECIMAL_COMMA.fullmatch(field):
                self._commas.setdefault(place, line)
            else:
                self._numeric.discard(place)


def _is_long_integer(field: str) -> bool:
    """Return whether a field is an integer that float64 may merge with another."""
    return len(field) > _LONG and _INTEGER.fullmatch(field) is not None


def _exact_numbers(fields: Sequence[object]) -> list[object]:
    """Return integers, and decimals beside them, exactly; None is missing.

    A column that also has text stays text.
    """
    texts = [field.replace(",", ".") if isinstance(field, str) else None for field in fields]
    if not all(text is None or _NUMBER.fullmatch(text) for text in texts):
        return [field if isinstance(field, str) else None for field in fields]
    return [
        None if text is None else int(text) if _INTEGER.fullmatch(text) else Decimal(text)
        for text in texts
    ]


def _open_text(path: Path) -> TextIO:
    """Open a file in UTF-8 whose lines have any ends, which are kept."""
    return io.TextIOWrapper(open_regular(path), encoding="utf-8-sig", newline="")


def _first_rows(path: Path) -> tuple[list[list[str]], str]:
    """Return the first lines that are not blank, as lists of fields, and the separator."""
    with _open_text(path) as text:
        texts = [text.readline(_MAX_LINE) for _ in range(_LINES)]
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
    counts = Counter(names)
    for place, name in enumerate(names):
        if not name and place:
            rule = "a CSV file with a name for each column"
            found = Unquoted(f"no name for column {place + 1}")
            raise DataError(error_message(shown, rule, found, "add the name to the first line"))
        if counts[name] > 1:
            rule = "a CSV file with distinct names of columns"
            cure = "rename or remove one of the columns"
            raise DataError(error_message(shown, rule, f"{name}", cure))
    if all(_NUMBER.fullmatch(name) for name in names):
        rule = "a CSV file whose first line has the names of the columns"
        cure = "add a line of names"
        raise DataError(error_message(shown, rule, Unquoted(f"numbers ({names[0]}...)"), cure))
    return names


def _encoding_message(shown: str, error: UnicodeDecodeError) -> str:
    """Return the error message for a file in another encoding."""
    byte = error.object[error.start]
    is_utf16 = error.object.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    encoding = "utf-16" if is_utf16 else "latin1"
    cure = f"convert it, for instance with: iconv -f {encoding} -t utf-8 FILE > NEW"
    if error.object.startswith((b"\x1f\x8b", b"PK\x03\x04")):  # gzip, and zip, as spreadsheets are
        cure = "unpack it, or save the spreadsheet as CSV"
    return error_message(shown, "UTF-8 text", Unquoted(f"the byte 0x{byte:02x}"), cure)


def _line_message(shown: str, reason: str, cure: str) -> str:
    """Return the error message for lines of different lengths or open quotes."""
    rule = "a CSV file with the same number of fields in each line"
    return error_message(shown, rule, Unquoted(f"an error: {reason}"), cure)


def _empty_message(shown: str) -> str:
    """Return the error message for a file without rows."""
    rule = "a CSV file with rows below the names of the columns"
    return error_message(shown, rule, Unquoted("the first line alone"))
