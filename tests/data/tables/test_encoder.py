"""TableEncoder: fitted on training rows, applied to any rows, stored as JSON."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.compose import ColumnTransformer  # type: ignore[import-untyped]
from sklearn.impute import SimpleImputer  # type: ignore[import-untyped]
from sklearn.preprocessing import OneHotEncoder  # type: ignore[import-untyped]

from mlpkit.data import LabeledTensors, TableEncoder
from mlpkit.data.tables import Frame
from mlpkit.errors import ConfigError, DataError


def mixed_frame(count: int, seed: int) -> pd.DataFrame:
    """Return numbers with and without missing values, booleans, categories and a target."""
    generator = np.random.default_rng(seed)
    age = generator.normal(40, 10, count)
    age[generator.random(count) < 0.2] = np.nan
    return pd.DataFrame(
        {
            "age": age,
            "count": generator.integers(0, 100, count),
            "city": generator.choice(["Rome", "Oslo", "Bonn"], count),
            "member": generator.random(count) < 0.5,
            "unit": "cm",
            "price": generator.normal(size=count),
        }
    )


@pytest.fixture
def frame() -> pd.DataFrame:
    """A frame of 60 rows."""
    return mixed_frame(60, seed=0)


def test_a_frame_is_encoded_as_by_scikit_learn(frame: pd.DataFrame) -> None:
    encoder = TableEncoder.fit(frame, target="price")
    oracle = ColumnTransformer(
        [
            ("age", SimpleImputer(strategy="median", add_indicator=True), ["age"]),
            ("count", "passthrough", ["count"]),
            ("city", OneHotEncoder(sparse_output=False), ["city"]),
            ("member", "passthrough", ["member"]),
        ]
    ).fit(frame)
    test = mixed_frame(30, seed=1)
    inputs = encoder.transform(test)
    assert inputs.dtype is torch.float32
    expected = np.asarray(oracle.transform(test), dtype=np.float32)
    np.testing.assert_array_equal(inputs.numpy(), expected)
    assert encoder.feature_names == (
        *("age", "age is missing", "count", "city=Bonn", "city=Oslo", "city=Rome", "member"),
    )
    assert encoder.target is not None
    assert encoder.target.task == "regression"
    assert torch.equal(encoder.transform_target(test), torch.tensor(test["price"]).float())


def test_pandas_and_polars_give_the_same_encoder(frame: pd.DataFrame) -> None:
    columns = {name: values.tolist() for name, values in frame.to_dict("series").items()}
    other = pl.DataFrame(columns, nan_to_null=True)
    encoder = TableEncoder.fit(frame, target="price")
    assert TableEncoder.fit(other, target="price") == encoder
    assert torch.equal(encoder.transform(other), encoder.transform(frame))


def test_columns_are_found_by_name(frame: pd.DataFrame) -> None:
    encoder = TableEncoder.fit(frame, target="price")
    expected = encoder.transform(frame)
    reordered = frame[["city", "age", "member", "count"]].assign(new="x")  # no price, no unit
    assert torch.equal(encoder.transform(reordered), expected)
    with pytest.raises(DataError, match=r"columns of the training rows, .*got one without count$"):
        encoder.transform(frame.drop(columns="count"))
    renamed = frame.rename(columns={"count": "Count", "city": "town"})
    with pytest.raises(DataError, match="without count, city; did you mean the column 'Count'"):
        encoder.transform(renamed)


def test_other_dtypes_have_the_same_features(frame: pd.DataFrame) -> None:
    encoder = TableEncoder.fit(frame, target="price")
    other = frame.astype({"count": float, "city": "category", "member": int, "age": "float32"})
    assert torch.allclose(encoder.transform(other), encoder.transform(frame))
    for name, values in (("count", "many"), ("member", 5)):
        with pytest.raises(DataError, match=f"column '{name}' must be"):
            encoder.transform(frame.assign(**{name: values}))
    empty = encoder.transform(frame.assign(age=None, city=None))
    assert bool((empty[:, 1] == 1).all())
    assert empty[:, 3:6].abs().sum() == 0


def test_columns_that_float32_merges_stay_float64(frame: pd.DataFrame) -> None:
    times = frame.assign(time=1_700_000_000 + np.arange(60))
    encoder = TableEncoder.fit(times, target="price")
    assert encoder.dtype == "float64"
    assert len(set(encoder.transform(times)[:, -1].tolist())) == 60
    huge = TableEncoder.fit(frame.assign(age=np.linspace(1e39, 1e40, 60)), target="price")
    assert huge.dtype == "float64"
    small = TableEncoder.fit(frame, target="price")
    with pytest.raises(DataError, match="column 'age' must be of numbers within the range of fl"):
        small.transform(frame.assign(age=1e39))


def test_ignored_columns_and_no_target(frame: pd.DataFrame) -> None:
    encoder = TableEncoder.fit(frame, ignore=["price", "city", "age"])
    assert encoder.feature_names == ("count", "member")
    assert encoder.target is None
    assert TableEncoder.fit(frame, ignore="city").columns == tuple(
        column for column in TableEncoder.fit(frame).columns if column.name != "city"
    )
    with pytest.raises(ValueError, match="encoder must be fitted with a target"):
        encoder.transform_target(frame)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"target": "prise"}, ValueError, "did you mean 'price'"),
        ({"ignore": "old"}, ValueError, "ignore must be the name of a column, got 'old'"),
        ({"ignore": ["old"]}, ValueError, "ignore must be the name of a column, got 'old'"),
        ({"ignore": ["price"], "target": "price"}, ValueError, "columns besides the target"),
        ({"task": "regression"}, ValueError, "target must be given with task or classes"),
        ({"target": []}, ValueError, "one or more distinct strings"),
        ({"ignore": ["age", "count", "city", "member", "price"]}, DataError, "got 1 with one"),
    ],
)
def test_wrong_arguments_are_refused(
    frame: pd.DataFrame, options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        TableEncoder.fit(frame, **options)  # type: ignore[arg-type]


def test_a_frame_without_rows_is_refused(frame: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="frame must be a frame with rows"):
        TableEncoder.fit(frame[:0])
    assert TableEncoder.fit(frame).transform(frame[:0]).shape[0] == 0


@pytest.mark.parametrize("target", [None, "price", "city", ["member", "count"]])
def test_the_state_is_json(frame: pd.DataFrame, target: str | list[str] | None) -> None:
    encoder = TableEncoder.fit(frame, target=target)
    again = TableEncoder.from_json(encoder.to_json())
    assert again == encoder
    assert TableEncoder.from_dict(json.loads(json.dumps(encoder.to_dict()))) == encoder
    assert torch.equal(again.transform(frame), encoder.transform(frame))
    assert pickle.loads(pickle.dumps(encoder)) == encoder
    with pytest.raises(dataclasses.FrozenInstanceError):
        encoder.dtype = "float64"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "encoder.version must be 1, got 2; load it with the version"),
        ({"dtype": "int8"}, "encoder.dtype must be one of 'float32', 'float64'"),
        ({"columns": "x"}, "encoder.columns must be a list"),
        ({"columns": [3]}, r"encoder.columns\[0\] must be an object"),
        ({"columns": []}, "of at least two values in some column"),
        ({"target": 3}, "encoder.target must be an object or null"),
        ({"target": {"names": ["age"], "task": "regression"}}, "distinct in name"),
        ({"code": "x"}, "an object with the keys"),
    ],
)
def test_a_wrong_state_is_refused(
    frame: pd.DataFrame, change: dict[str, object], message: str
) -> None:
    state = TableEncoder.fit(frame).to_dict() | change
    with pytest.raises(ValueError, match=message):
        TableEncoder.from_dict(state)


def test_text_that_is_no_json_is_refused() -> None:
    with pytest.raises(ConfigError, match="the encoder must be valid JSON"):
        TableEncoder.from_json("{")
    with pytest.raises(ConfigError, match="the encoder must be valid JSON"):
        TableEncoder.from_json("[" * 100_000)


def test_the_statistics_are_those_of_the_rows_given(frame: pd.DataFrame) -> None:
    """Rows that were not given, such as test rows, change nothing."""
    train: Frame = frame[:40]
    other = pd.concat([frame[:40], frame[40:].assign(age=1e6, city="Kiel")])
    encoder = TableEncoder.fit(train, target="price")
    assert TableEncoder.fit(other[:40], target="price") == encoder
    assert encoder.feature_names.count("city=Kiel") == 0


def test_classes_that_look_like_other_numbers_are_read_as_text(tmp_path: Path) -> None:
    """A file that lacks the class ``x`` would otherwise have the numbers 1 and 2."""
    path = tmp_path / "table.csv"
    path.write_text("a,t\n" + "1.5,01\n2.5,02\n3.5,x\n" * 4)
    train = LabeledTensors.from_csv(path, target="t")
    assert train.classes == ("01", "02", "x")
    path.write_text("a,t\n" + "1.5,01\n2.5,02\n" * 3)
    test = LabeledTensors.from_csv(path, encoder=train.encoder)
    assert test.targets.tolist() == [0, 1] * 3
