"""Reading CSV files of many kinds, and what is wrong with others."""

from __future__ import annotations

import csv
import gzip
import io
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
        ("a,b\n1,2\n".encode("utf-16"), "UTF-8 text, got the byte 0xff; .* iconv -f utf-16 -t"),
        ("PK,é\n1,2\n".encode("latin1"), "UTF-8 text, got the byte 0xe9; .* iconv -f latin1 -t"),
        (gzip.compress(b"a,b\n1,2\n"), "UTF-8 text, got the byte 0x8b; unpack it, or save"),
        (b"PK\x03\x04\x80", "UTF-8 text, got the byte 0x80; unpack it, or save the spreadsheet"),
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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b,c\n1,2,3\n4,5\n", "Expected 3 fields in line 3, saw 2; complete the line"),
        ("a,b\n1,2\n3\n", "Expected 2 fields in line 3, saw 1; complete"),
        ("a,b\n1,2\n3,4,5\n", "Expected 2 fields in line 3, saw 3; put quotes"),
        ('a,b\n"x\n\ny",1\n\nz\n', "Expected 2 fields in line 6, saw 1"),
        ("a,b\r1,2\r3\r", "Expected 2 fields in line 3, saw 1"),
        ("a,b\n" + "1,2\n" * 99 + "3\n", "Expected 2 fields in line 101, saw 1"),
        ('a,b\n1,2\n"x,3\n4,5\n', "the quotes opened in line 3 are not closed; close them"),
        ("a,b\n1," + "x" * 200_000 + "\n", "field limit .*shorten or remove the field"),
        ("a,b\n" + "1,2\n" * 99 + "x" * 200_000 + ",1\n", "field limit .*line 101; shorten"),
    ],
)
def test_a_line_of_another_length_is_named(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_csv(write(tmp_path, content))


def test_the_decimal_comma_is_found_in_the_whole_file(tmp_path: Path) -> None:
    path = write(tmp_path, "a;b\n" + "1;x\n" * 60 + "1,5;y\n,5e1;z\n")
    assert read_csv(path)["a"].tolist() == [1.0] * 60 + [1.5, 5.0]
    # a column of text says nothing about numbers
    path = write(tmp_path, "a;version\n1,5;1.5\n2,5;2.0-beta\n")
    assert read_csv(path)["a"].tolist() == [1.5, 2.5]
    assert read_csv(path)["version"].tolist() == ["1.5", "2.0-beta"]
    assert read_csv(write(tmp_path, "a;b\n1,5;1.5\n"), text_columns=["b"])["a"].tolist() == [1.5]
    path = write(tmp_path, "a;b\n" + "1,5;x\n" * 60 + "NA;x\n2.5;y\n")
    message = "column 'a' of .* must be .*, got a comma in line 2 and a point in line 63; write all"
    with pytest.raises(DataError, match=message):
        read_csv(path)


def test_spaces_around_names_and_fields_are_removed(tmp_path: Path) -> None:
    path = write(tmp_path, ' a ,"b ", c\n yes, True ,NA \n" no ",False," "\nyes ,TRUE, 1.5 \n')
    frame = read_csv(path)
    assert list(frame.columns) == ["a", "b", "c"]
    assert frame["a"].tolist() == ["yes", "no", "yes"]
    assert frame["b"].tolist() == [True, False, True]
    assert frame["c"].isna().tolist() == [True, True, False]


def test_large_integers_are_exact(tmp_path: Path) -> None:
    large = 2**53 + 1
    assert read_csv(write(tmp_path, f"a,b\n{large},1\n,2\n"))["a"].tolist() == [large, None]
    frame = read_csv(write(tmp_path, f"a;b\n{10**400};1\n1,5;2\n"))
    assert frame["a"].tolist() == [10**400, Decimal("1.5")]
    frame = read_csv(write(tmp_path, f"id,b\n{large},1\n{large}x,2\n"))
    assert frame["id"].tolist() == [str(large), f"{large}x"]
    assert read_csv(write(tmp_path, f"a,b\n{large},1\n"), text_columns=["a"])["a"][0] == str(large)


FIELDS = st.text(st.sampled_from("ab,;|\t\r\n\"' .1é"), max_size=6)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(1, 4).flatmap(
        lambda width: st.lists(st.lists(FIELDS, min_size=width, max_size=width), min_size=1)
    )
)
def test_text_is_read_as_the_csv_module_wrote_it(tmp_path: Path, rows: list[list[str]]) -> None:
    names = [f"name {place}" for place in range(len(rows[0]))]
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([names, *rows])
    frame = read_csv(write(tmp_path, text.getvalue()), text_columns=names)
    assert list(frame.columns) == names
    found = [[item if isinstance(item, str) else "" for item in row] for row in frame.to_numpy()]
    assert found == [[field.strip() for field in row] for row in rows]
