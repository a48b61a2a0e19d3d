"""Reading CSV files of many kinds, and what is wrong with others."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from mlpkit.data.tables import read_csv
from mlpkit.errors import DataError


def write(tmp_path: Path, content: str | bytes) -> Path:
    """Return the path of a file with this content."""
    path = tmp_path / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_each_separator_is_found(tmp_path: Path, separator: str) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b c": ["x; y, z", "t\tu|v"], "d": [0.5, None]})
    path = tmp_path / "table.csv"
    frame.to_csv(path, sep=separator, index=False)
    pd.testing.assert_frame_equal(read_csv(path), frame)


@pytest.mark.parametrize(
    "content",
    [
        "a,b\r\n1,x\r\n2,y\r\n",
        "\ufeffa,b\n1,x\n2,y",
        '\n"a" , "b"\n1, x\n\n2, y\n',
        "a;b\n1;x\n2;y\n",
        ",a,b\n0,1,x\n1,2,y\n",
    ],
)
def test_line_ends_marks_blanks_and_row_names(tmp_path: Path, content: str) -> None:
    expected = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    pd.testing.assert_frame_equal(read_csv(write(tmp_path, content)), expected)


def test_decimal_commas_in_files_with_semicolons(tmp_path: Path) -> None:
    path = write(tmp_path, "a;b\n1,5;x, y\n-2,25;z\n")
    assert read_csv(path)["a"].tolist() == [1.5, -2.25]
    path = write(tmp_path, "a;b\n1.5;1,2\n2.5;3,4\n")
    assert read_csv(path)["b"].tolist() == ["1,2", "3,4"]


def test_missing_values_and_types(tmp_path: Path) -> None:
    frame = read_csv(write(tmp_path, "a,b,c,d\n1,,NA,True\n,x,3,False\n2,y,4,True\n"))
    assert frame.isna().sum().tolist() == [1, 1, 1, 0]
    assert frame["d"].dtype == bool


def test_text_columns_keep_their_zeros(tmp_path: Path) -> None:
    path = write(tmp_path, "zip,a\n01234,1\n,2\n")
    frame = read_csv(path, text_columns=("zip", "other"))
    assert frame["zip"].tolist()[0] == "01234"
    assert frame["zip"].isna().tolist() == [False, True]


def test_a_quoted_field_with_line_breaks(tmp_path: Path) -> None:
    rows = "".join(f'{n},"first\nsecond"\n' for n in range(60))
    assert read_csv(write(tmp_path, f"a,b\n{rows}"))["b"].tolist() == ["first\nsecond"] * 60


def test_one_column(tmp_path: Path) -> None:
    assert read_csv(write(tmp_path, "a\n1\n2\n"))["a"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "names of the columns, got an empty first line"),
        (b"\n\n", "names of the columns, got an empty first line"),
        ("a,b\n", "with rows below the names of the columns, got the first line alone"),
        ("a,b,a\n1,2,3\n", "with distinct names of columns, got 'a'; rename or remove"),
        ("a,,c\n1,2,3\n", "with a name for each column, got no name for column 2"),
        ("1,2\n3,4\n5,6\n", r"names of the columns, got numbers \(1...\); add a line of names"),
        ("a,b\n1,2\n3,4,5\n", "the same number of fields in each line, got an error: .*line 3"),
        ("a,b\n1,2,3\n3,4,5\n", "the same number of fields in each line"),
        ("a,b\n" + "1,2\n" * 100 + "3,4,5\n", "got an error: Expected 2 fields in line 102"),
        ("a,b\n" + "1,2\n" * 100 + 'x,"3\n', "the same number of fields in each line"),
        ("a,é\n1,2\n".encode("latin1"), "UTF-8 text, got the byte 0xe9; convert it"),
        (b"a,b\n" + b"1,2\n" * 100 + b"3,\xe9\n", "UTF-8 text, got the byte 0xe9; convert it"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-8 text, got the byte 0xff"),
    ],
)
def test_a_file_that_is_no_table_is_refused(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    path = write(tmp_path, content)
    with pytest.raises(DataError, match=message) as error:
        read_csv(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be a readable CSV file, got No such file"):
        read_csv(tmp_path / "none.csv")
    with pytest.raises(DataError, match="must be a readable CSV file"):
        read_csv(tmp_path)


def test_a_blank_line_of_one_column_is_a_missing_value(tmp_path: Path) -> None:
    path = tmp_path / "one.csv"
    path.write_text("x\n1.0\n\n2.0\n")
    assert read_csv(path)["x"].isna().tolist() == [False, True, False]
    path.write_text("x,y\n1.0,2\n\n2.0,3\n")
    assert len(read_csv(path)) == 2
