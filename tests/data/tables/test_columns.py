"""Each kind of column against scikit-learn's and pandas' encoders."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
import pytest
from sklearn.impute import SimpleImputer  # type: ignore[import-untyped]
from sklearn.preprocessing import OneHotEncoder  # type: ignore[import-untyped]

from mlpkit.data.tables import Table
from mlpkit.data.tables._columns import (
    BooleanColumn,
    CategoryColumn,
    Column,
    ConstantColumn,
    NumberColumn,
    column_from_dict,
    fit_column,
)
from mlpkit.errors import ConfigError, DataError


def fit(values: object) -> Column:
    """Return the encoder for a column named x."""
    frame = pl.DataFrame if isinstance(values, pl.Series) else pd.DataFrame
    return fit_column(Table(frame({"x": values})).read("x"))


def encode(column: Column, values: list[object]) -> npt.NDArray[np.float64]:
    """Return the features of a column."""
    out = np.zeros((len(values), len(column.feature_names)))
    column.encode(Table(pd.DataFrame({"x": values})).read("x"), out)
    return out


def test_numbers_are_imputed_as_by_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    train = generator.normal(size=51)
    train[generator.random(51) < 0.3] = np.nan
    test = np.array([np.nan, 0.5, -2.0, np.nan])
    column = fit(list(train))
    imputer = SimpleImputer(strategy="median", add_indicator=True).fit(train[:, None])
    np.testing.assert_array_equal(encode(column, list(test)), imputer.transform(test[:, None]))
    assert column.feature_names == ("x", "x is missing")


def test_numbers_without_missing_values_have_no_indicator() -> None:
    column = fit([1, 2, 10, 11])
    assert column == NumberColumn(name="x", median=6.0)
    assert encode(column, [5, None]).tolist() == [[5.0], [6.0]]
    assert fit([1e308, 1.7e308, 1.5e308, 1.6e308]).to_dict()["median"] == pytest.approx(1.55e308)


def test_booleans_are_imputed_with_the_more_frequent_value() -> None:
    column = fit([True, None, True, False])
    assert column == BooleanColumn(name="x", fill=True, has_missing=True)
    assert encode(column, [False, None, True]).tolist() == [[0, 0], [1, 1], [1, 0]]
    assert encode(column, [0, 1]).tolist() == [[0, 0], [1, 0]]
    with pytest.raises(DataError, match=r"column 'x' must be booleans, .*got '2'; see row 1"):
        encode(column, [0, 2])


@pytest.mark.parametrize("has_missing", [False, True])
def test_categories_are_one_hot_as_by_scikit_learn_and_pandas(has_missing: bool) -> None:
    generator = np.random.default_rng(1)
    train: list[str | None] = [str(item) for item in generator.choice(["oak", "ash", "elm"], 40)]
    train += [None] * 3 if has_missing else []
    column = fit(list(train))
    expected = pd.get_dummies(pd.Series(train), dummy_na=has_missing).to_numpy(dtype=float)
    np.testing.assert_array_equal(encode(column, list(train)), expected)
    test = ["oak", "yew", "ash"]
    if not has_missing:
        encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        encoder.fit(np.array(train)[:, None])
        expected = encoder.transform(np.array(test)[:, None])
        np.testing.assert_array_equal(encode(column, list(test)), expected)
    assert encode(column, [None, "yew"]).sum() == has_missing  # unknown is zeros
    assert column.feature_names[:3] == ("x=ash", "x=elm", "x=oak")


def test_a_category_that_looks_like_a_number_is_found_in_a_column_of_numbers() -> None:
    column = fit(["1", "2", "x", "1"])
    assert encode(column, [2, 1]).tolist() == [[0, 1, 0], [1, 0, 0]]
    assert encode(column, [2.0, None]).tolist() == [[0, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize("values", [[3, 3, 3], ["a", "a"], [True, True], [None, None]])
def test_constant_columns_have_no_feature(values: list[object]) -> None:
    column = fit(values)
    assert column == ConstantColumn(name="x")
    assert encode(column, values).shape == (len(values), 0)


@pytest.mark.parametrize("values", [[3, None, 3], ["a", None], [True, None]])
def test_one_value_that_may_be_missing_is_a_feature(values: list[object]) -> None:
    assert encode(fit(values), values)[:, 1].tolist() == [value is None for value in values]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            [f"id{n}" for n in range(21)],
            "21 different values in 21 rows; drop or ignore it if",
        ),
        ([f"id{n // 2}" for n in range(2002)], "1001 different values in 2002 rows"),
        (
            [f"2024-01-{n + 1:02}" for n in range(25)],
            "drop or ignore it, or convert dates",
        ),
        (["?", *(str(n / 2) for n in range(25))], "leave fields such as '[?]' empty if"),
        ([f"{n},5" for n in range(25)], "write its numbers with a decimal point"),
        ([f"${n},500" for n in range(25)], "write its numbers with a decimal point"),
        ([str(n / 2) for n in range(25)], "convert it to a numeric dtype"),
    ],
)
def test_text_that_identifies_rows_is_refused(values: list[object], message: str) -> None:
    with pytest.raises(DataError, match=f"column 'x' must be text .*{message}"):
        fit(values)


def test_text_in_a_column_of_numbers_is_refused() -> None:
    with pytest.raises(DataError, match="'x' must be numbers, as in the training rows, got 'a'; s"):
        encode(fit([1, 2]), [None, "a"])


@pytest.mark.parametrize(
    "column",
    [
        NumberColumn(name="x", median=1.5, has_missing=True),
        BooleanColumn(name="x", fill=True),
        CategoryColumn(name="x", categories=("a", "b")),
        ConstantColumn(name="x"),
    ],
)
def test_the_json_form_gives_the_column_back(column: Column) -> None:
    assert column_from_dict("column", column.to_dict()) == column


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"kind": "number", "name": "x", "median": float("nan")}, ValueError),
        ({"kind": "number", "name": 3, "median": 1.0}, TypeError),
        ({"kind": "number", "name": "x"}, ConfigError),
        ({"kind": "number", "name": "x", "median": 1.0, "code": "print()"}, ConfigError),
        ({"kind": "boolean", "name": "x", "fill": 1}, TypeError),
        ({"kind": "category", "name": "x", "categories": []}, ValueError),
        ({"kind": "category", "name": "x", "categories": ["a", "a"]}, ValueError),
        ({"kind": "other", "name": "x"}, ValueError),
        ({"name": "x"}, TypeError),
        (["number"], ConfigError),
    ],
)
def test_a_wrong_json_form_is_refused(values: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        column_from_dict("column", values)


def test_a_number_is_the_category_of_its_value() -> None:
    column = fit(["01", "02", "x"])
    assert encode(column, [1, 2]).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert encode(column, ["1", "2"]).tolist() == [[0, 0, 0], [0, 0, 0]]  # text as it is
    flags = fit(["true", "false", None])
    assert encode(flags, [True, None]).tolist() == [[0, 1, 0], [0, 0, 1]]
    with pytest.raises(DataError, match="column 'x' must be text where training had '01' and '1'"):
        encode(fit(["01", "1"]), [1])


def test_the_median_of_the_smallest_numbers_is_exact() -> None:
    assert fit([5e-324, 5e-324, 1.0]).to_dict()["median"] == 5e-324


def test_a_categorical_dtype_may_identify_rows() -> None:
    names = [f"id{number:04}" for number in range(1001)]
    for make in (pd.Categorical, lambda values: pl.Series(values, dtype=pl.Enum(values))):
        column = fit(make(names[:1000]))
        assert isinstance(column, CategoryColumn)
        assert column.categories == tuple(names[:1000])
        with pytest.raises(DataError, match="text with at most 1000 different values, got 1001 di"):
            fit(make(names))
