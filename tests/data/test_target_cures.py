"""Labels of unusual kinds raise messages whose cures work."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from mlpkit.data import LabeledTensors

CLASSES = ("a", "b", "c")
INDICES = [0, 2, 1, 0]
ONE_HOT = torch.eye(3)[INDICES]
SIGNS = [-1, 1, 1, -1]
INPUTS = torch.zeros(4, 2)


def expression(message: str) -> str:
    """Return the expression in the cure of a message."""
    found = re.search(r"(?:pass|return) (.*?) (?:for|as) ", message.rpartition("; ")[2])
    assert found is not None, message
    return found[1]


def run(code: str, **names: Any) -> Any:
    """Execute an expression of a message."""
    return eval(code, {"np": np, **names})  # noqa: S307 - from this package


# targets, class names, indices after the cure
LABELS: dict[str, tuple[Any, tuple[str, ...] | None, list[int]]] = {
    "column": (torch.tensor(INDICES)[:, None], CLASSES, INDICES),
    "column without names": (torch.tensor(INDICES)[:, None], None, INDICES),
    "column of floats": (torch.tensor(INDICES)[:, None].float(), CLASSES, INDICES),
    "column of bool": (torch.tensor([[True], [False], [True], [True]]), None, [1, 0, 1, 1]),
    "one-hot integers": (ONE_HOT.long(), CLASSES, INDICES),
    "one-hot without names": (ONE_HOT.to(torch.uint8), None, INDICES),
    "one-hot bool": (ONE_HOT.bool(), CLASSES, INDICES),
    "from 1": (torch.tensor(INDICES) + 1, CLASSES, INDICES),
    "signs": (torch.tensor(SIGNS), ("no", "yes"), [0, 1, 1, 0]),
    "signs without names": (torch.tensor(SIGNS, dtype=torch.int8), None, [0, 1, 1, 0]),
    "column of signs": (torch.tensor(SIGNS)[:, None], ("no", "yes"), [0, 1, 1, 0]),
    "floats of signs": (torch.tensor(SIGNS).float(), ("no", "yes"), [0, 1, 1, 0]),
    "bool": (torch.tensor([True, False, True, True]), ("no", "yes"), [1, 0, 1, 1]),
    "floats": (torch.tensor(INDICES).double(), CLASSES, INDICES),
}


# The same kinds in every dtype that can hold them, as (N,) and as (N, 1).
DTYPES = (
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint16, torch.uint32, torch.uint64),
    *(torch.float16, torch.float32, torch.float64),
)
for dtype in DTYPES:
    for kind, values, names in (
        ("0 and 1", [0, 1, 1, 0], ("no", "yes")),
        ("from 1", [1, 2, 2, 1], ("no", "yes")),
        ("signs", SIGNS, ("no", "yes")),
    ):
        stored = torch.tensor(values).to(dtype)
        if stored.tolist() != values:  # the dtype does not hold these values
            continue
        for end, odd in (("", stored), (" in a column", stored[:, None])):
            LABELS[f"{kind}{end}, {dtype}"] = (odd, names, [0, 1, 1, 0])
    one_hot = ONE_HOT.to(dtype)
    if not dtype.is_floating_point:  # else distributions, which are accepted
        LABELS[f"one-hot, {dtype}"] = (one_hot, CLASSES, INDICES)


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("origin", ["tensor", "array", "list", "dataset"])
def test_following_the_message_gives_class_indices(label: str, origin: str) -> None:
    """One message, followed literally, leads to the right labels."""
    targets, classes, expected = LABELS[label]
    given: Any = targets
    if origin == "array":
        given = targets.numpy()
    if origin == "list":
        given = targets.tolist()

    def load() -> LabeledTensors:
        if origin == "tensor":
            return LabeledTensors(INPUTS, given, classes)
        if origin == "dataset":
            return LabeledTensors.from_dataset(TensorDataset(INPUTS, given), classes=classes)
        return LabeledTensors.from_numpy(INPUTS.numpy(), given, classes)

    try:
        data = load()
    except (TypeError, ValueError) as error:
        code = expression(str(error))
        if origin == "dataset":
            given = torch.tensor([run(code, target=target) for target in given])
        else:
            given = run(code, targets=given)
        data = load()
    assert data.targets.tolist() == expected
    assert data.targets.dtype is torch.int64
    if classes is not None:
        assert data.classes == classes


@pytest.mark.parametrize(
    "targets",
    [
        np.array([b"b", b"a", b"b", b"c"]),
        np.array([b"b", b"a", b"b", b"c"], dtype=object),
        [b"b", b"a", b"b", b"c"],
        np.array([[b"b"], [b"a"], [b"b"], [b"c"]]),
    ],
    ids=["bytes", "objects", "list", "column"],
)
def test_names_as_bytes_are_decoded_by_following_the_message(targets: Any) -> None:
    message = "targets must be an array of numbers or of names"
    with pytest.raises(TypeError, match=message) as caught:
        LabeledTensors.from_numpy(INPUTS, targets)
    decoded = run(expression(str(caught.value)), targets=targets)
    data = LabeledTensors.from_numpy(INPUTS, decoded)
    assert data.classes == CLASSES
    assert data.targets.tolist() == [1, 0, 1, 2]


@pytest.mark.parametrize(
    ("targets", "cure"),
    [
        ([1, 2, 0, 1], "np.asarray(targets).astype(int)"),
        ([1.5, 2, 0, 1], "np.asarray(targets).astype(float)"),
        (["a", 1, "b", 2], "list(map(str, targets))"),
    ],
)
def test_arrays_of_objects_are_converted_by_following_the_message(
    targets: list[object], cure: str
) -> None:
    array = np.array(targets, dtype=object)
    with pytest.raises(TypeError, match=f"; pass {re.escape(cure)}"):
        LabeledTensors.from_numpy(INPUTS, array)
    assert len(LabeledTensors.from_numpy(INPUTS, run(cure, targets=array))) == 4


def test_missing_labels_and_names_in_columns() -> None:
    with pytest.raises(TypeError, match="leave out examples without a label"):
        LabeledTensors.from_numpy(INPUTS, np.array(["a", None, "b", "a"], dtype=object))
    with pytest.raises(ValueError, match=r"see example 1, and leave out examples without a label"):
        LabeledTensors(INPUTS, torch.tensor([0, -1, 2, 1]))
    names = np.array([["b"], ["a"], ["b"], ["c"]])
    with pytest.raises(ValueError, match=r"\(4, 1\); pass np\.ravel\(targets\)"):
        LabeledTensors.from_numpy(INPUTS, names)
    assert LabeledTensors.from_numpy(INPUTS, np.ravel(names)).targets.tolist() == [1, 0, 1, 2]


@pytest.mark.parametrize("targets", [torch.tensor([[1, 1, 0], [0, 0, 0]]), torch.zeros(2, 2, 2)])
def test_several_labels_are_not_called_classes(targets: Tensor) -> None:
    """Rows with several ones, and maps, have no class index."""
    if not targets.is_floating_point():
        with pytest.raises(ValueError, match="pass targets of a floating-point dtype for"):
            LabeledTensors(torch.zeros(2, 1), targets)
    assert len(LabeledTensors(torch.zeros(2, 1), targets.float())) == 2


def test_class_names_of_other_kinds_are_converted_by_following_the_message() -> None:
    for classes in (np.array(CLASSES), [0, 1, 2], {"a": 0, "b": 1, "c": 2}):
        with pytest.raises(TypeError, match=r"list\(map\(str, classes\)\) makes one"):
            LabeledTensors(INPUTS, torch.tensor(INDICES), classes)  # type: ignore[arg-type]
        LabeledTensors(INPUTS, torch.tensor(INDICES), list(map(str, classes)))
    data = LabeledTensors(INPUTS, torch.tensor(INDICES), list(np.array(CLASSES)))
    assert data.classes is not None
    assert {type(name) for name in data.classes} == {str}
