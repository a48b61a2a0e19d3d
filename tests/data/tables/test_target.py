"""What the target columns of a table mean, found from their values."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from mlpkit.data import TableEncoder, TableTarget
from mlpkit.data.tables import Table
from mlpkit.errors import DataError


def fit(*columns: list[object], **options: object) -> TableTarget:
    """Return the target of columns a, b, ..."""
    frame = pd.DataFrame(dict(zip("abc", columns, strict=False)))
    return TableTarget.fit(Table(frame), list(frame.columns), **options)  # type: ignore[arg-type]


def encode(target: TableTarget, *columns: list[object]) -> torch.Tensor:
    """Return the targets of columns a, b, ..."""
    return target.encode(Table(pd.DataFrame(dict(zip("abc", columns, strict=False)))))


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        (["no", "yes", "no"], "classification", ("no", "yes")),
        ([True, False, True], "classification", ("False", "True")),
        ([1, 0, 1], "classification", ("0", "1")),
        ([10, 9, 10, 9], "classification", ("9", "10")),
        (list(range(20)) * 2, "classification", tuple(map(str, range(20)))),
        (list(range(21)) * 2, "regression", None),
        ([1, 2, 3, 4], "regression", None),
        ([0.0, 1.0, 0.0, 1.0], "regression", None),
        ([1.5, 2.5], "regression", None),
    ],
)
def test_the_task_of_one_column_is_found(
    values: list[object], task: str, classes: tuple[str, ...] | None
) -> None:
    target = fit(values)
    assert (target.task, target.classes) == (task, classes)
    encoded = encode(target, values)
    if classes is None:
        assert encoded.dtype is torch.float32
        assert encoded.tolist() == values
    else:
        assert [classes[index] for index in encoded.tolist()] == [str(value) for value in values]


def test_several_columns_are_labels_or_a_regression() -> None:
    labels = fit([0, 1], [True, False])
    assert labels.task == "multilabel"
    assert labels.tensor_names == ("a", "b")
    assert encode(labels, [0, 1], [True, False]).tolist() == [[0, 1], [1, 0]]
    numbers = fit([0.5, 1], [3, 4])
    assert numbers.task == "regression"
    assert encode(numbers, [0.5, 1], [3, 4]).tolist() == [[0.5, 3], [1, 4]]
    with pytest.raises(DataError, match="target column 'b' must be numbers, as one of several"):
        fit([1, 2], ["x", "y"])


def test_a_given_task_is_used() -> None:
    assert fit([1, 2, 3], task="classification").classes == ("1", "2", "3")
    assert fit([0, 1, 0], task="regression").classes is None
    assert encode(fit([0, 1, 0], task="multilabel"), [0, 1, 0]).shape == (3, 1)
    assert fit(["b", "a"], classes=("b", "a", "c")).classes == ("b", "a", "c")
    with pytest.raises(DataError, match="must be numbers for a regression, got 'x'"):
        fit(["x", "y"], task="regression")
    with pytest.raises(DataError, match="must be 0 or 1 for a label, got '2'"):
        fit([0, 2], task="multilabel")
    with pytest.raises(DataError, match=r"text or integers for classes, got 0.5"):
        fit([0.5, 1.5], task="classification")
    with pytest.raises(ValueError, match="one column for classes"):
        fit([0, 1], [0, 1], task="classification")
    with pytest.raises(ValueError, match="task must be one of 'classification'"):
        fit([0, 1], task="other")
    with pytest.raises(ValueError, match="classes must be left out for a regression"):
        fit([0.5, 1.5], classes=("a", "b"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, None, 2.0], "target column 'a' must be given in each row, got 1 missing of 3"),
        (["x", None], "must be given in each row, got 1 missing of 2, the first in row 1"),
        ([2.5, 2.5], "must be of at least two values, got '2.5' in each of 2 rows"),
        (["x", "x"], "must be of at least two values"),
        ([f"id{n}" for n in range(30)], "must be classes that repeat, got 30 different values"),
    ],
)
def test_a_target_that_cannot_be_learned_is_refused(values: list[object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit(values)


def test_a_class_that_training_does_not_have_is_refused() -> None:
    target = fit(["x", "y"])
    with pytest.raises(DataError, match=r"one of the classes \(x, y\), got 'z'; see row 1"):
        encode(target, ["x", "z"])
    with pytest.raises(DataError, match="one of the classes"):
        fit(["x", "y"], classes=("x", "z"))


def test_a_frame_without_the_target_is_refused() -> None:
    """Its name is no argument of the caller, who gave it for the training rows."""
    frame = pd.DataFrame({"y": [1.0, 0, 1], "z": [0, 1, 1]})
    target = TableEncoder.fit(frame.assign(x=[1, 2, 3]), target=["y", "z"]).target
    assert target is not None
    message = "frame must be a table with the target of the training rows, y, z, got one without z"
    with pytest.raises(DataError, match=message):
        target.encode(frame[["y"]])


def test_large_targets_stay_float64() -> None:
    times = [1_700_000_000 + second for second in range(30)]
    target = fit(list(times))
    assert encode(target, list(times)).tolist() == times


def test_the_dtype_is_that_of_the_training_rows() -> None:
    times: list[object] = [1_700_000_000 + second for second in range(30)]
    target = fit(times)
    assert target.dtype == "float64"
    assert encode(target, [1, 2]).dtype is torch.float64
    small = fit([0.5, 1.5])
    assert small.dtype == "float32"
    assert encode(small, times).dtype is torch.float32
    assert fit([0.5, 1.5], times[:2]).dtype == "float64"
    with pytest.raises(DataError, match=r"column 'a' must be of numbers within .*float32"):
        encode(small, [1e39, 1.0])
    with pytest.raises(ValueError, match="dtype must be 'float32' for a multilabel, got 'float64'"):
        TableTarget(names=("a",), task="multilabel", dtype="float64")


@pytest.mark.parametrize(
    "train", [[True, False], [1, 0], ["1", "0"], [1.0, 0.0], ["True", "False"]]
)
@pytest.mark.parametrize(
    "later", [[True, False], [1, 0], ["1", "0"], [1.0, 0.0], ["1.0", "0.0"], ["true", "FALSE"]]
)
def test_classes_of_another_type_are_found_by_value(
    train: list[object], later: list[object]
) -> None:
    target = fit(train, task="classification")
    assert encode(target, later).tolist() == [1, 0]
    labels = fit(train, task="multilabel")
    assert encode(labels, later).tolist() == [[1], [0]]


def test_classes_that_are_the_same_number_are_refused() -> None:
    target = fit(["01", "1", "x"])
    assert encode(target, ["1", "01"]).tolist() == [1, 0]
    message = r"'a' must be text where training had '01' and '1', .* got 1; read the column as text"
    with pytest.raises(DataError, match=message):
        encode(target, [1, 1])
    with pytest.raises(DataError, match=r"one of the classes \(01, 1, x\), got '2'"):
        encode(target, [2, 2])
    assert encode(fit(["01", "02"]), [2, 1]).tolist() == [1, 0]


def test_a_label_that_is_text_is_refused_with_its_row() -> None:
    with pytest.raises(DataError, match="must be 0 or 1 for a label, got 'x'; see row 1"):
        encode(fit([0, 1], task="multilabel"), ["1", "x"])
