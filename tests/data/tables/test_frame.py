"""The columns of frames of pandas and polars as numbers and text."""

from __future__ import annotations

import datetime
import decimal
import fractions
import sys
from collections.abc import Callable

import numpy as np
import pandas as pd
import polars as pl
import pytest

from mlpkit.data import TableEncoder
from mlpkit.data.tables import Frame, Table
from mlpkit.errors import DataError, MissingDependencyError

MAKERS = (pd.DataFrame, pl.DataFrame, lambda data: pd.DataFrame(data).convert_dtypes())


@pytest.fixture(params=MAKERS, ids=["pandas", "polars", "pandas-nullable"])
def make(request: pytest.FixtureRequest) -> Callable[[dict[str, list[object]]], Frame]:
    """Return a function that makes a frame of one library."""
    maker: Callable[[dict[str, list[object]]], Frame] = request.param
    return maker


COLUMNS: dict[str, list[object]] = {
    "number": [1.5, None, 3.0],
    "integer": [1, 2, 3],
    "boolean": [True, False, None],
    "text": ["b", None, "a"],
    "empty": [None, None, None],
}


def test_each_library_gives_the_same_values(
    make: Callable[[dict[str, list[object]]], Frame],
) -> None:
    table = Table(make(COLUMNS))
    assert len(table) == 3
    assert table.columns == tuple(COLUMNS)
    for name, items in COLUMNS.items():
        values = table.read(name)
        assert values.kind == name
        assert len(values) == 3
        assert values.missing.tolist() == [item is None for item in items]
        if name != "text":
            floats: dict[object, object] = {True: 1.0, False: 0.0, None: np.nan}
            expected = [floats.get(item, item) if name == "boolean" else item for item in items]
            np.testing.assert_array_equal(values.numbers, np.array(expected, dtype=float))
    assert table.read("text").texts == ["b", None, "a"]
    assert table.read("boolean").as_texts() == ["True", "False", None]
    assert table.read("integer").as_texts() == ["1", "2", "3"]
    assert table.read("number").as_texts() == ["1.5", None, "3"]


def test_rows_are_selected_in_order(make: Callable[[dict[str, list[object]]], Frame]) -> None:
    selected = Table(make(COLUMNS)).select(np.array([2, 0]))
    assert len(selected) == 2
    assert selected.read("text").texts == ["a", "b"]


def test_categories_and_objects_are_text_or_numbers() -> None:
    frame = pd.DataFrame(
        {
            "category": pd.Categorical(["x", None, "y"]),
            "numbered": pd.Categorical([3, 1, None]),
            "decimal": [decimal.Decimal("1.5"), None, decimal.Decimal(2)],
            "flags": pd.Series([True, None, False], dtype=object),
            "whole": pd.Series([1, None, 2], dtype=object),
            "mixed": pd.Series(["x", None, "y"], dtype=object),
        }
    )
    table = Table(frame)
    assert table.read("category").texts == ["x", None, "y"]
    assert table.read("numbered").texts == ["3", "1", None]
    assert table.read("decimal").numbers[[0, 2]].tolist() == [1.5, 2.0]
    assert table.read("flags").kind == "boolean"
    assert table.read("whole").kind == "integer"
    assert table.read("mixed").texts == ["x", None, "y"]
    enum = pl.DataFrame({"e": pl.Series(["x", "y"], dtype=pl.Enum(["y", "x"]))})
    assert Table(enum).read("e").texts == ["x", "y"]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"day": pd.to_datetime(["2024-01-01"])}), "column 'day' must be .*dates"),
        (pl.DataFrame({"day": [datetime.date(2024, 1, 1)]}), "column 'day' must be .*dates"),
        (pd.DataFrame({"day": [datetime.date(2024, 1, 1)]}), "got dates or .*drop or ignore it"),
        (pd.DataFrame({"day": [datetime.timedelta(1)]}), "got dates or times"),
        (pd.DataFrame({"x": ["a", 1, 2.5]}), "got float and int and str"),
        (pd.DataFrame({"x": [[1], [2]]}), "got list"),
        (pd.DataFrame({"x": [1j, 2j]}), "column 'x' must be numbers, booleans or text"),
        (pd.DataFrame({"x": [1.0, np.inf]}), "column 'x' must be finite or missing.*see row 1"),
        (pl.DataFrame({"x": [1.0, -np.inf]}), "column 'x' must be finite or missing.*see row 1"),
    ],
)
def test_values_that_are_no_numbers_are_refused(frame: Frame, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Table(frame).read(Table(frame).columns[0])


def test_other_objects_are_no_frames() -> None:
    with pytest.raises(TypeError, match="frame must be a pandas or polars DataFrame, got list"):
        Table([1])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="got LazyFrame; collect it first"):
        Table(pl.LazyFrame({"a": [1]}))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"frame.columns must be strings, got 0; .*astype\(str\)"):
        Table(pd.DataFrame(np.zeros((2, 2))))
    twice = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(DataError, match="names of the columns must be distinct, got 'a'"):
        Table(twice)


def test_a_column_that_does_not_exist_is_named() -> None:
    table = Table(pd.DataFrame({"price": [1], "area": [2]}))
    with pytest.raises(ValueError, match=r"target must be .*got 'prise'; did you mean 'price'"):
        table.check_column("target", "prise")
    with pytest.raises(ValueError, match="there are price, area"):
        table.check_column("target", "zzz")
    with pytest.raises(TypeError, match="target must be the name of a column, got 3"):
        table.check_column("target", 3)


def test_a_missing_narwhals_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the command that installs it."""
    monkeypatch.setitem(sys.modules, "narwhals", None)
    with pytest.raises(MissingDependencyError, match=r"mlpkit\[tables\]"):
        TableEncoder.fit(pd.DataFrame({"a": [1.0, 2.0]}))


LARGE = 2**53 + 1  # float64 rounds it to 2**53


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"x": [1, LARGE]}),
        pd.DataFrame({"x": [1, -LARGE]}),
        pd.DataFrame({"x": pd.array([None, LARGE], dtype="Int64")}),
        pd.DataFrame({"x": np.array([1, 2**64 - 1], dtype=np.uint64)}),
        pd.DataFrame({"x": np.array([None, np.int64(LARGE)], dtype=object)}),
        pd.DataFrame({"x": np.array([1, 10**400], dtype=object)}),
        pd.DataFrame({"x": np.array([1, -(10**5000)], dtype=object)}),
        pd.DataFrame({"x": [None, decimal.Decimal(LARGE)]}),
        pd.DataFrame({"x": [None, fractions.Fraction(LARGE)]}),
        pl.DataFrame({"x": [None, LARGE]}),
        pl.DataFrame({"x": pl.Series([1, 2**64 - 1], dtype=pl.UInt64)}),
        pl.DataFrame({"x": [None, decimal.Decimal(LARGE)]}),
    ],
)
def test_integers_that_float64_would_merge_are_refused(frame: Frame) -> None:
    message = r"column 'x' must be of integers up to 2\*\*53.*\(row 1\), got .*; subtract a const"
    with pytest.raises(DataError, match=message):
        Table(frame).read("x")


def test_large_integers_that_float64_holds_are_read() -> None:
    exact = [2**53, -(2**60), 2**100]
    assert Table(pd.DataFrame({"x": exact})).read("x").numbers.tolist() == exact
    assert Table(pd.DataFrame({"x": [1e300, 2.0]})).read("x").numbers.tolist() == [1e300, 2.0]
    names = pd.Index(np.array([LARGE, 10**400], dtype=object), dtype=object)
    categories = pd.DataFrame({"x": pd.Categorical.from_codes([0, 1], names)})
    assert Table(categories).read("x").texts == [str(LARGE), str(10**400)]
