"""Frames go in as they are, and are compared with those of the fit."""

from __future__ import annotations

import datetime
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest

from mlpkit.errors import DataError
from mlpkit.sklearn import MLPClassifier, MLPRegressor

RANDOM = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "size": np.where(np.arange(60) % 7 == 0, np.nan, RANDOM.normal(size=60) * 1e6),
        "city": pd.Categorical(RANDOM.choice(["Rome", "Oslo", "Bonn"], 60)),
        "street": [f"street {number}" for number in RANDOM.integers(25, size=60)],
        "new": RANDOM.random(60) > 0.5,
        "rooms": RANDOM.integers(1, 9, size=60),
    }
)
PRICE = RANDOM.normal(size=60) + (FRAME.city == "Rome")


def regressor() -> MLPRegressor:
    return MLPRegressor(max_iter=3, n_members=2, random_state=0)


def test_columns_of_all_kinds_are_read() -> None:
    found = regressor().fit(FRAME, PRICE)
    names = ("size", "size is missing", "city", "street", "new", "rooms")
    assert found.encoder_.feature_names == names
    assert found.n_features_in_ == 5
    assert found.feature_names_in_.tolist() == list(FRAME.columns)
    city = pd.Series(["Bern", None], dtype=object)
    new = FRAME[:2].assign(city=city, street="unknown", size=[np.nan, 1.0])
    assert np.isfinite(found.predict(new)).all()


def test_pandas_and_polars_give_the_same_model() -> None:
    other = pl.DataFrame({name: FRAME[name].to_list() for name in FRAME.columns})
    expected = regressor().fit(FRAME, PRICE)
    found = regressor().fit(other, np.asarray(PRICE))
    assert np.array_equal(found.predict(other), expected.predict(FRAME))


def test_a_row_is_predicted_as_in_the_table() -> None:
    """In float64, so that other rows of a batch do not matter."""
    found = regressor().fit(FRAME, PRICE)
    one_by_one = np.concatenate([found.predict(FRAME[row : row + 1]) for row in range(60)])
    np.testing.assert_allclose(one_by_one, found.predict(FRAME), rtol=1e-12)


def test_other_columns_are_refused() -> None:
    found = regressor().fit(FRAME, PRICE)
    with pytest.raises(ValueError, match="feature names should match"):
        found.predict(FRAME[["city", "size", "street", "new", "rooms"]])
    with pytest.raises(ValueError, match="feature names should match"):
        found.predict(FRAME.drop(columns="city"))
    with pytest.raises(DataError, match="column 'size' must be numbers, as in the training rows"):
        found.predict(FRAME.assign(size="large"))


def test_an_array_has_the_columns_of_the_frame() -> None:
    """As in scikit-learn, by position and with a warning."""
    numbers = FRAME[["size", "rooms"]]
    found = regressor().fit(numbers, PRICE)
    expected = found.predict(numbers)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        assert np.array_equal(found.predict(numbers.to_numpy()), expected)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        assert np.array_equal(found.predict(numbers.set_axis([0, 1], axis=1)), expected)


@pytest.mark.parametrize(
    "frame", [FRAME[["size", "rooms"]], pl.DataFrame(FRAME[["size", "rooms"]])]
)
def test_a_frame_has_the_columns_of_the_array(frame: pd.DataFrame | pl.DataFrame) -> None:
    array = frame.to_numpy()
    found = regressor().set_params(preset="tabular").fit(array, PRICE)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert np.array_equal(found.predict(frame), found.predict(array))
    if isinstance(frame, pd.DataFrame):  # an old scikit-learn does not read the names of others
        assert "fitted without feature names" in str(caught[0].message)


@pytest.mark.parametrize("value", [3.0, 1e9 + 0.1, np.nan, "text", True, None])
def test_constant_columns_give_the_mean(value: object) -> None:
    """The frame of one fold, or of one group, may have no column that varies."""
    frame = pd.DataFrame({"a": [value] * 60, "b": ["x"] * 60})
    found = regressor().set_params(max_iter=20).fit(frame, PRICE)
    np.testing.assert_allclose(found.predict(frame), PRICE.mean(), atol=0.2)
    assert np.array_equal(found.predict(frame.assign(b="y")), found.predict(frame))
    classifier = MLPClassifier(max_iter=10, n_members=2, random_state=0)
    classifier.fit(frame, np.arange(60) % 3 == 0)
    np.testing.assert_allclose(classifier.predict_proba(frame)[:, 1], 1 / 3, atol=0.1)


def test_dates_are_refused_with_a_cure() -> None:
    frame = FRAME.assign(day=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC))
    with pytest.raises(DataError, match=r"column 'day' must be .* got dates .*; drop or ignore it"):
        regressor().fit(frame, PRICE)


def test_identifiers_are_refused_with_a_cure() -> None:
    frame = FRAME.assign(id=[f"id {number}" for number in range(60)])
    with pytest.raises(DataError, match="; drop or ignore it if it identifies the rows"):
        regressor().fit(frame, PRICE)


def test_all_columns_that_cannot_be_used_are_named() -> None:
    """Also if the first one cannot be read."""
    day = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    refused = pd.DataFrame({"day": [day] * 60, "id": [f"id {number}" for number in range(60)]})
    message = r"2 columns cannot be used:\n  column 'day' must be .*\n  column 'id' must be "
    with pytest.raises(DataError, match=message):
        regressor().fit(pd.concat([refused, FRAME], axis=1), PRICE)


def test_numbers_beyond_float32_are_refused() -> None:
    with pytest.raises(DataError, match="column 'size' must be of numbers within the range of fl"):
        regressor().fit(FRAME.assign(size=FRAME["size"] * 1e200), PRICE)


def test_thousands_of_categories() -> None:
    count = 9000
    codes = RANDOM.integers(3000, size=count)
    frame = pd.DataFrame({"code": [f"c{code}" for code in codes], "x": RANDOM.normal(size=count)})
    found = MLPClassifier(max_iter=8, n_members=1, random_state=0).fit(frame, codes % 2)
    assert found.score(frame, codes % 2) > 0.9


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (FRAME, PRICE[:5], "inconsistent numbers of samples"),
        (FRAME[:1], PRICE[:1], "X must be of at least two rows .*, got n_samples=1"),
        (FRAME, None, "y to be passed"),
        (
            FRAME,
            np.arange(60).astype("M8[D]"),
            "y must be real numbers, got an array of datetime64",
        ),
        (FRAME, np.full(60, "1"), "y must be real numbers, got an array of <U1"),
        (FRAME, np.where(PRICE > 1, np.nan, PRICE), "NaN"),
        (pl.LazyFrame({"a": [1, 2]}), [1, 2], "collect it first"),
    ],
)
def test_what_cannot_be_fitted(X: object, y: object, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        regressor().set_params(preset="tabular").fit(X, y)
