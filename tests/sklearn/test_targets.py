"""Targets that cannot be learned are refused with a message about y and a cure that works."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest

from mlpkit.errors import DataError
from mlpkit.sklearn import MLPClassifier, MLPRegressor

COUNT = 40
FRAME = pd.DataFrame({"x": np.arange(COUNT) % 7, "z": np.arange(COUNT) % 5})
WORDS = pd.Series(["yes", "no"] * (COUNT // 2), dtype=object)
NUMBERS = pd.Series(np.arange(COUNT) % 3)
GONE = [3, 8]


def classifier() -> MLPClassifier:
    return MLPClassifier(max_iter=1, n_members=1, random_state=0)


def regressor() -> MLPRegressor:
    return MLPRegressor(max_iter=1, n_members=1, random_state=0)


@pytest.mark.parametrize(
    "y",
    [
        WORDS.where(~WORDS.index.isin(GONE)),
        WORDS.where(~WORDS.index.isin(GONE), None),
        WORDS.where(~WORDS.index.isin(GONE)).astype("string"),
        WORDS.where(~WORDS.index.isin(GONE)).astype("category"),
        NUMBERS.where(~NUMBERS.index.isin(GONE)),
        NUMBERS.where(~NUMBERS.index.isin(GONE)).astype("Int64"),
        (NUMBERS == 1).astype("boolean").where(~NUMBERS.index.isin(GONE)),
        pl.Series([None if row in GONE else word for row, word in enumerate(WORDS)]),
        [None if row in GONE else word for row, word in enumerate(WORDS)],
        pd.DataFrame({"a": NUMBERS.where(~NUMBERS.index.isin(GONE)), "b": NUMBERS}),
    ],
)
def test_missing_targets_are_counted(y: object) -> None:
    """Text, categories, nullable numbers and booleans alike, with the row of the first."""
    message = r"y must be given in each row, got NaN or None in 2 of 40 rows, the first in row 3 f"
    with pytest.raises(DataError, match=message):
        classifier().fit(FRAME, y)
    with pytest.raises(DataError, match=message):
        classifier().fit(FRAME.to_numpy(), y)
    if isinstance(y, pd.Series):  # the cure
        kept = y.notna().to_numpy()
        found = classifier().set_params(validation_fraction=0.0).fit(FRAME[kept], y[kept])
        assert found.t_ == COUNT - len(GONE)


def test_a_regression_needs_numbers() -> None:
    with pytest.raises(DataError, match=r"y must be real numbers, got 'yes'; .* MLPClassifier"):
        regressor().fit(FRAME, WORDS)
    with pytest.raises(DataError, match=r"y must be given in each row, .* in 1 of 40 rows"):
        regressor().fit(FRAME, np.where(NUMBERS.index == 5, np.nan, NUMBERS))
    # Text of numbers, as scikit-learn reads it.
    expected = regressor().fit(FRAME, NUMBERS).predict(FRAME)
    found = regressor().fit(FRAME, NUMBERS.astype(str).astype(object)).predict(FRAME)
    assert np.array_equal(found, expected)


def test_a_classification_needs_classes() -> None:
    """The message shows one value, not all of them."""
    y = NUMBERS + np.where(NUMBERS.index == 9, 0.25, 0.0)
    for X in (FRAME, FRAME.to_numpy()):
        with pytest.raises(DataError, match=r"continuous numbers such as 0\.25; MLPReg") as caught:
            classifier().fit(X, y)
        assert len(str(caught.value)) < 200
    whole = classifier().fit(FRAME, y.round())  # the cure
    assert whole.classes_.tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("y", "types", "cure"),
    [
        ((NUMBERS == 1).astype(object), "bool", bool),
        (NUMBERS.astype(object), "int", int),
        (NUMBERS.astype(object).where(NUMBERS != 1, "one"), "int and str", str),
        (pd.cut(NUMBERS, 2), "Interval", str),
        (NUMBERS.map(lambda day: datetime.date(2026, 1, 1 + day)), "date", str),
    ],
)
def test_objects_of_other_types_are_refused_with_a_cure(
    y: pd.Series, types: str, cure: type
) -> None:
    message = rf"got objects of the type {types}; use y\.astype\({cure.__name__}\)$"
    with pytest.raises(DataError, match=message):
        classifier().fit(FRAME, y)
    found = classifier().fit(FRAME, y.astype(cure))
    assert found.classes_.tolist() == sorted(set(y.astype(cure)))
