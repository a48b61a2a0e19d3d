"""TableEncoder: fitted on training rows, applied to any rows, stored as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer  # type: ignore[import-untyped]
from sklearn.impute import SimpleImputer  # type: ignore[import-untyped]
from sklearn.preprocessing import OneHotEncoder  # type: ignore[import-untyped]

from mlpkit import Regressor
from mlpkit.data import LabeledTensors, TableEncoder
from mlpkit.data.tables import Frame
from mlpkit.errors import ArtifactError, ConfigError, DataError
from mlpkit.models import load_model
from mlpkit.nn import OneHot


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


def test_codes_are_the_positions_of_the_one_hot_features(frame: pd.DataFrame) -> None:
    """For known, unknown and missing categories, and for numbers without a difference."""
    frame.loc[::7, "city"] = None
    frame["size"] = np.where(frame["age"] > 40, "big", "small")  # none is missing here
    test = mixed_frame(30, seed=1).assign(size="big")
    test.loc[:2, "city"] = ["Kiel", None, "Oslo"]
    test.loc[3:4, "size"] = ["huge", None]
    one_hot = TableEncoder.fit(frame, target="price")
    encoder = TableEncoder.fit(frame, target="price", categories="codes")
    assert encoder.num_categories == (0, 0, 0, 4, 0, 2)
    assert encoder.feature_names == ("age", "age is missing", "count", "city", "member", "size")
    assert one_hot.num_categories == (0,) * len(one_hot.feature_names)
    inputs, parts = encoder.transform(test), []
    assert inputs[:3, 3].tolist() == [-1, 3, 1]
    assert inputs[3:5, 5].tolist() == [-1, -1]
    for column, count in zip(inputs.unbind(1), encoder.num_categories, strict=True):
        parts.append(column[:, None])
        if count:  # -1 becomes zeros
            parts[-1] = F.one_hot(column.long() + 1, count + 1)[:, 1:].float()
        if count > 2:
            assert torch.equal(OneHot((count,))(column[:, None]), parts[-1])
    assert torch.equal(torch.cat(parts, 1), one_hot.transform(test))
    loaded = TableEncoder.from_json(encoder.to_json())
    assert loaded == encoder != one_hot
    assert torch.equal(loaded.transform(test), inputs)
    assert "categories" not in one_hot.to_dict()  # as earlier versions wrote it


def test_codes_may_have_thousands_of_categories() -> None:
    numbers = np.arange(6000) % 3000
    frame = pd.DataFrame({"code": [f"c{number:04}" for number in numbers], "x": numbers % 7})
    with pytest.raises(DataError, match="text with at most 1000 different values, got"):
        TableEncoder.fit(frame)
    encoder = TableEncoder.fit(frame, categories="codes")
    assert encoder.num_categories == (3000, 0)
    assert encoder.transform(frame)[:, 0].tolist() == numbers.tolist()


def test_an_unknown_encoding_of_categories_is_refused(frame: pd.DataFrame) -> None:
    state = TableEncoder.fit(frame).to_dict()
    with pytest.raises(ValueError, match="categories must be one of 'codes', 'one_hot', got 'hot'"):
        TableEncoder.from_dict({**state, "categories": "hot"})


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


def test_all_columns_that_cannot_be_used_are_named(frame: pd.DataFrame) -> None:
    """One message, so that they can be left out at once."""
    refused = {f"id {number}": [f"{number}-{row}" for row in range(60)] for number in range(11)}
    wide = frame.assign(**refused, day=pd.date_range("2026-01-01", periods=60))
    with pytest.raises(DataError) as caught:
        TableEncoder.fit(wide, target="price")
    message = str(caught.value)
    first, *others, last = message.split("\n  ")
    assert first == "12 columns cannot be used:"
    alone = []
    for name in list(refused)[:10]:
        with pytest.raises(DataError, match=f"^column '{name}' must be") as one:
            TableEncoder.fit(wide[["age", name]])
        alone.append(str(one.value))
    assert others == alone
    assert last == "and 2 others"
    encoder = TableEncoder.fit(wide, target="price", ignore=[*refused, "day"])  # the cure
    assert encoder == TableEncoder.fit(frame, target="price")


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


@pytest.mark.parametrize(
    ("columns", "feature"),
    [
        ({"a": [1.0, None, 2.0], "a is missing": [1, 2, 3]}, "a is missing"),
        ({"color=red": [1, 2, 3], "color": ["red", "blue", "red"]}, "color=red"),
        ({"a": ["b=c", "x", "x"], "a=b": ["c", "y", "y"]}, "a=b=c"),
    ],
)
def test_features_of_one_name_are_refused(columns: dict[str, list[object]], feature: str) -> None:
    names = " and ".join(map(repr, columns))
    message = rf"distinct in their features \(from {names}\), got '{feature}'; rename one"
    with pytest.raises(DataError, match=message):
        TableEncoder.fit(pd.DataFrame(columns))
    TableEncoder.fit(pd.DataFrame(columns), ignore=next(iter(columns)))


def test_a_median_that_the_dtype_cannot_hold_is_refused(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1.0, None, 2.0, 4.0]})
    encoder = TableEncoder.fit(frame)
    state = json.loads(encoder.to_json())
    state["columns"][0]["median"] = 1e39
    with pytest.raises(ValueError, match=r"the median of column 'a' must be within .*float32"):
        TableEncoder.from_dict(state)
    for median in (10**400, float("nan"), float("inf"), "1", True, None):
        state["columns"][0]["median"] = median
        with pytest.raises((TypeError, ValueError), match="median must be a finite number"):
            TableEncoder.from_json(json.dumps(state))
    train = LabeledTensors(encoder.transform(frame), torch.rand(4))
    model = Regressor.for_data(train, (2,))
    model.encoder = encoder
    column = encoder.columns[0]
    object.__setattr__(column, "median", 1e39)  # as a damaged file has it
    with pytest.raises(ArtifactError, match="the median of column 'a' must be within the range"):
        load_model(model.save(tmp_path))


NUMBERS = st.one_of(
    st.none(), st.floats(-1e6, 1e6, width=32), st.just(float("nan")), st.integers(-1000, 1000)
)
KINDS: dict[str, st.SearchStrategy[object]] = {
    "number": NUMBERS,
    "integer": st.one_of(st.none(), st.integers(-(2**53), 2**53)),
    "boolean": st.sampled_from([None, True, False]),
    "text": st.sampled_from([None, "", "red", "blue", " red", "1", "01", "True", "é"]),
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[dict[str, str], list[pd.DataFrame | pl.DataFrame]]:
    """Draw the kinds of columns, and frames of training and of other rows."""
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4))
    named = {f"c{place}": kind for place, kind in enumerate(kinds)}
    library = draw(st.sampled_from(["pandas", "nullable", "polars"]))
    types = {"number": pl.Float64, "integer": pl.Int64, "boolean": pl.Boolean, "text": pl.String}
    frames: list[pd.DataFrame | pl.DataFrame] = []
    for size in (draw(st.integers(1, 12)), draw(st.integers(0, 6))):
        data = {
            name: draw(st.lists(KINDS[kind], min_size=size, max_size=size))
            for name, kind in named.items()
        }
        if library == "polars":
            schema = {name: types[kind] for name, kind in named.items()}
            frames.append(pl.DataFrame(data, schema=schema, strict=False))
        else:
            frame = pd.DataFrame({name: pd.Series(v, dtype=object) for name, v in data.items()})
            frames.append(frame.convert_dtypes() if library == "nullable" else frame)
    return named, frames


def plain(frame: pd.DataFrame | pl.DataFrame, name: str) -> list[object]:
    """Return a column as plain objects; None is missing."""
    items = frame[name].to_list() if isinstance(frame, pl.DataFrame) else list(frame[name])
    return [None if item is None or item is pd.NA or item != item else item for item in items]


def slow_features(kind: str, train: Sequence[object], rows: Sequence[object]) -> list[list[float]]:
    """Return the features of a column, each (N,), by scikit-learn and exact arithmetic."""
    missing = None in train
    known = [item for item in train if item is not None]
    if len(set(known)) == 0 or (len(set(known)) == 1 and not missing):
        return []
    indicator = [[float(item is None) for item in rows]] if missing else []
    if kind == "text":
        encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        encoder.fit(np.array(known, dtype=object)[:, None])
        texts = ["unknown" if item is None else item for item in rows]
        if not texts:
            return [[] for _ in range(len(set(known)) + missing)]
        one_hot = encoder.transform(np.array(texts, dtype=object)[:, None])
        return [*one_hot.T.tolist(), *indicator]
    if kind == "boolean":
        fill = float(2 * sum(map(bool, known)) > len(known))
    else:
        ordered = sorted(map(Fraction, known))  # type: ignore[arg-type]  # numbers
        middle = len(ordered) // 2
        fill = float((ordered[middle] + ordered[~middle]) / 2)
    return [[fill if item is None else float(item) for item in rows], *indicator]  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(tables())
def test_any_frame_is_encoded_as_by_a_slow_oracle(
    drawn: tuple[dict[str, str], list[pd.DataFrame | pl.DataFrame]],
) -> None:
    named, (train, other) = drawn
    expected = {
        name: slow_features(kind, plain(train, name), plain(other, name))
        for name, kind in named.items()
    }
    wide = [column for columns in expected.values() for column in columns]
    if not wide:
        with pytest.raises(DataError, match="of at least two values besides the target"):
            TableEncoder.fit(train)
        return
    encoder = TableEncoder.fit(train)
    inputs = encoder.transform(other)
    assert inputs.shape == (len(other), len(wide)) == (len(other), len(encoder.feature_names))
    dtype = np.dtype(encoder.dtype)
    np.testing.assert_array_equal(
        inputs.numpy().T, np.array(wide, dtype=dtype).reshape(inputs.T.shape)
    )
    assert torch.equal(TableEncoder.from_json(encoder.to_json()).transform(other), inputs)
    reordered = other[list(named)[::-1]]
    assert torch.equal(encoder.transform(reordered), inputs)
    for name in named:
        if expected[name]:
            if isinstance(other, pl.DataFrame):
                rest: pd.DataFrame | pl.DataFrame = other.drop(name)
            else:
                rest = other.drop(columns=name)
            with pytest.raises(DataError, match=f"got one without {name}"):
                encoder.transform(rest)


JSON_VALUES: st.SearchStrategy[object] = st.sampled_from(
    [
        *(None, True, 0, 1, -1, 2**70, 10**400, 1e39, math.nan, math.inf, "", "x", "number"),
        *([], [1], ["a", "a"], {}, {"kind": "number"}, [{}], [[]], [None]),
    ]
)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_a_damaged_state_raises_the_errors_of_the_library(data: st.DataObject) -> None:
    """Each change of one value is refused, or gives an encoder whose features are finite."""
    frame = mixed_frame(12, seed=0)
    target = data.draw(st.sampled_from(["price", "city"]))
    state = json.loads(TableEncoder.fit(frame, target=target).to_json())
    place: dict[str, object] | list[object] = state
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        inner = place[key]  # type: ignore[index, call-overload]
        if isinstance(inner, dict | list) and inner and data.draw(st.booleans()):
            place = inner
            continue
        place[key] = data.draw(JSON_VALUES)  # type: ignore[index, call-overload]
        break
    try:
        encoder = TableEncoder.from_dict(state)
        assert bool(encoder.transform(frame).isfinite().all())
    except (TypeError, ValueError):
        return
