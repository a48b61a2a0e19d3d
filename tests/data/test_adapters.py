"""Conversion of torch data sets, torchvision's data sets and NumPy arrays."""

from __future__ import annotations

import gzip
import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from mlpkit.data import LabeledTensors, mnist
from mlpkit.errors import DataError


class Pairs(Dataset[object]):
    """A data set of the given examples."""

    def __init__(self, examples: list[object], classes: Sequence[str] | None = None) -> None:
        self.examples = examples
        if classes is not None:
            self.classes: Sequence[str] = classes

    def __getitem__(self, index: int) -> object:
        return self.examples[index]

    def __len__(self) -> int:
        return len(self.examples)


class Stream(IterableDataset[object]):
    """An iterable data set without a length."""

    def __iter__(self) -> Iterator[object]:
        return iter([(torch.tensor([float(number)]), number % 2) for number in range(5)])


def test_a_tensor_dataset_is_read() -> None:
    inputs, targets = torch.rand(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    data = LabeledTensors.from_dataset(TensorDataset(inputs, targets))
    assert torch.equal(data.inputs, inputs)
    assert torch.equal(data.targets, targets)
    assert data.classes is None


def test_as_torch_dataset_is_read_back() -> None:
    data = LabeledTensors(torch.rand(6, 3), torch.arange(6) % 2)
    assert LabeledTensors.from_dataset(data.as_torch_dataset()).fingerprint == data.fingerprint


def test_a_stream_without_a_length() -> None:
    data = LabeledTensors.from_dataset(Stream())
    assert data.inputs.tolist() == [[0.0], [1.0], [2.0], [3.0], [4.0]]
    assert data.targets.tolist() == [0, 1, 0, 1, 0]


class Reused(IterableDataset[object]):
    """An iterable data set with a length that reuses one buffer for all examples."""

    def __init__(self, target: object) -> None:
        self.target = target

    def __len__(self) -> int:
        return 5

    def __iter__(self) -> Iterator[object]:
        row = torch.zeros(1)
        for number in range(5):
            yield row.fill_(number), self.target


def test_an_iterable_data_set_may_reuse_its_buffer_and_have_a_length() -> None:
    data = LabeledTensors.from_dataset(Reused(0))
    assert data.inputs.tolist() == [[0.0], [1.0], [2.0], [3.0], [4.0]]


@pytest.mark.parametrize("target", [True, np.bool_(True), torch.tensor(True)])
def test_bool_targets_are_refused(target: object) -> None:
    """The error is that of the constructor."""
    with pytest.raises(TypeError, match=r"targets must be a tensor of class .*, got torch\.bool"):
        LabeledTensors.from_dataset(Reused(target))


def test_a_single_string_is_refused_as_class_names() -> None:
    pairs = Pairs([(0.0, 0), (1.0, 1)])
    pairs.classes = "ab"
    with pytest.raises(
        DataError, match=r"dataset\.classes must be a sequence of strings, got 'ab'"
    ):
        LabeledTensors.from_dataset(pairs)
    assert LabeledTensors.from_dataset(pairs, classes=["a", "b"]).classes == ("a", "b")


@pytest.mark.parametrize("mode", ["LA", "La", "PA", "RGBa"])
def test_an_opaque_alpha_channel_is_dropped(mode: str) -> None:
    image = Image.new("LA", (5, 4), (7, 255)).convert(mode if mode != "RGBa" else "RGBA")
    data = LabeledTensors.from_dataset(Pairs([(image.convert(mode), 0)]))
    assert torch.equal(data.inputs, torch.full((1, 3, 4, 5), 7, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("value", "dtype", "shape"),
    [
        (Image.new("L", (5, 4), 7), torch.uint8, (4, 5)),
        (Image.new("RGB", (5, 4), (7, 7, 7)), torch.uint8, (3, 4, 5)),
        (Image.new("P", (5, 4)), torch.uint8, (3, 4, 5)),
        (np.full((2, 3), 7, dtype=np.float32), torch.float32, (2, 3)),
        (np.full(3, 7, dtype=">i4"), torch.int32, (3,)),
        (torch.full((2,), 7.0, dtype=torch.float64), torch.float64, (2,)),
        (7.0, torch.float32, ()),
        (7, torch.int64, ()),
    ],
)
def test_inputs_of_every_kind(value: object, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    data = LabeledTensors.from_dataset(Pairs([(value, 0), [value, 1]], ["a", "b"]))
    assert data.inputs.dtype is dtype
    assert data.inputs.shape == (2, *shape)
    assert data.classes == ("a", "b")
    if not isinstance(value, Image.Image) or value.mode != "P":
        assert (data.inputs == 7).all()


@pytest.mark.parametrize("target", [3, np.int32(3), torch.tensor(3, dtype=torch.int16)])
def test_class_indices_of_every_kind(target: Any) -> None:
    data = LabeledTensors.from_dataset(Pairs([(0.0, target)]))
    assert data.targets.dtype is torch.int64
    assert data.targets.tolist() == [int(target)]


def test_float_targets_take_no_class_names_from_the_data_set() -> None:
    pairs: list[object] = [(0.0, torch.tensor([1.0, 2.0])), (1.0, torch.tensor([3.0, 4.0]))]
    data = LabeledTensors.from_dataset(Pairs(pairs, ["a", "b"]))
    assert data.targets.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert data.classes is None


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([], "dataset must be a data set with examples, got an empty one"),
        ([3], "example 0 must be a pair of input and target, got <class 'int'>"),
        ([(0.0, 0, 1.0)], "example 0 must be a pair of input and target"),
        ([("text", 0)], "the input of example 0 must be a tensor, an array, a number or a Pillow"),
        ([(0.0, "dog")], "the target of example 0 must be a tensor, an array, a number or"),
        (
            [(torch.zeros(2), 0), (torch.zeros(3), 1)],
            r"the input of example 1 must be torch.float32 of shape \(2,\), .*resize or convert",
        ),
        ([(0.0, 0), (0.0, 0.5)], "the target of example 1 must be torch.int64 of shape"),
        (
            [(Image.new("F", (2, 2)), 0)],
            "input of example 0 must be of 8 bits per channel, got mode F",
        ),
        ([(Image.new("LAB", (2, 2)), 0)], "must be of 8 bits per channel, got mode LAB"),
        ([(Image.new("LA", (2, 2), (9, 7)), 0)], "example 0 must be opaque, got transparent"),
        ([(Image.new("LA", (2, 2), (9, 7)).convert("La"), 0)], "0 must be opaque, got transp"),
        ([(Image.new("PA", (2, 2), (0, 7)), 0)], "0 must be opaque, got transp"),
    ],
)
def test_inconsistent_or_unsupported_examples_are_refused(
    examples: list[object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        LabeledTensors.from_dataset(Pairs(examples))


@pytest.mark.mnist
def test_torchvision_gives_the_same_mnist(mnist_root: Path, tmp_path: Path) -> None:
    """Torchvision's MNIST, with and without a transform, equals that of `mnist`."""
    datasets = importlib.import_module("torchvision.datasets")
    transforms = importlib.import_module("torchvision.transforms.v2")
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in mnist_root.glob("t10k-*.gz"):
        (raw / path.name).symlink_to(path)
        unpacked = gzip.decompress(path.read_bytes())
        (raw / path.name.removesuffix(".gz")).write_bytes(unpacked)
    for path in mnist_root.glob("train-*.gz"):
        (raw / path.name.removesuffix(".gz")).touch()  # torchvision checks only that it exists
    test = mnist(mnist_root).test
    theirs = LabeledTensors.from_dataset(datasets.MNIST(tmp_path, train=False))
    assert torch.equal(theirs.inputs, test.inputs)
    assert torch.equal(theirs.targets, test.targets)
    assert theirs.num_classes == 10
    scaled = transforms.Compose(
        [transforms.ToImage(), transforms.ToDtype(torch.float32, scale=True)]
    )
    short = torch.utils.data.Subset(datasets.MNIST(tmp_path, False, transform=scaled), range(9))
    data = LabeledTensors.from_dataset(short)
    assert type(data.inputs) is torch.Tensor
    torch.testing.assert_close(data.inputs, test.inputs[:9].unsqueeze(1) / 255)


@pytest.mark.parametrize("dtype", ["u1", "i2", ">i4", "<f4", ">f8", "f2", "?"])
def test_arrays_keep_their_values_and_types(dtype: str) -> None:
    array = np.arange(12).reshape(4, 3).astype(dtype)
    for view in (array, array[::-1], array[:, ::2], np.asfortranarray(array)):
        data = LabeledTensors.from_numpy(view, np.zeros(4, dtype=np.uint16))
        assert data.inputs.numpy().dtype == np.dtype(dtype).newbyteorder("=")
        assert np.array_equal(data.inputs.numpy(), view)
        assert data.inputs.is_contiguous()


def test_an_array_is_copied() -> None:
    """This includes a read-only array, for which torch would issue a warning."""
    array = np.zeros((2, 2))
    array.setflags(write=False)
    data = LabeledTensors.from_numpy(array, [0, 1], weights=[1.0, 2.0])
    data.inputs[0, 0] = 5
    assert array[0, 0] == 0
    assert data.weights is not None
    assert data.weights.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("kind", ["U", "O"])
def test_targets_may_be_names(kind: str) -> None:
    names = np.array(["b", "a", "b", "c"], dtype=kind)
    found = LabeledTensors.from_numpy(np.zeros(4), names)
    assert found.classes == ("a", "b", "c")
    assert found.targets.tolist() == [1, 0, 1, 2]
    ordered = LabeledTensors.from_numpy(np.zeros(4), names, ["c", "b", "a", "unused"])
    assert ordered.targets.tolist() == [1, 2, 1, 0]
    with pytest.raises(ValueError, match=r"targets must be one of the classes \(a, b\), got 'c'"):
        LabeledTensors.from_numpy(np.zeros(4), names, ["a", "b"])


def test_arrays_of_objects_are_refused() -> None:
    with pytest.raises(TypeError, match="inputs must be an array of numbers, got dtype"):
        LabeledTensors.from_numpy(np.array([None, 1]), [0, 1])


def test_arrays_that_have_no_tensor_are_refused() -> None:
    """Masked numbers mean nothing, and must not become examples."""
    inputs, targets = np.arange(6.0).reshape(3, 2), np.arange(3)
    masked = np.ma.masked_greater(inputs, 3.0)
    message = "inputs must be an array without a mask, got a masked array; replace"
    with pytest.raises(ValueError, match=message):
        LabeledTensors.from_numpy(masked, targets)
    assert LabeledTensors.from_numpy(masked[:2], targets[:2]).inputs.tolist() == [[0, 1], [2, 3]]
    with pytest.raises(ValueError, match="targets must be an array without a mask"):
        LabeledTensors.from_numpy(inputs, np.ma.masked_equal(targets, 1))
    with pytest.raises(ValueError, match="inputs must be convertible to one array, got an error"):
        LabeledTensors.from_numpy([[0.0], [1.0, 2.0], [3.0]], targets)
    with pytest.raises(TypeError, match=r"inputs must be an array of numbers, .* of float64"):
        LabeledTensors.from_numpy(inputs.astype(np.longdouble), targets)


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="needs NumPy 2")
def test_names_may_be_those_of_any_array_of_strings() -> None:
    names = np.array(["b", "a", "b"], dtype=np.dtypes.StringDType())
    data = LabeledTensors.from_numpy(np.eye(3), names)
    assert data.classes == ("a", "b")
    assert data.targets.tolist() == [1, 0, 1]


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA])
def test_a_missing_name_is_no_class(missing: object) -> None:
    message = f"targets must be an array of numbers or of names, got {missing!r} as target 1; leave"
    for targets in (["b", missing, "a"], np.array(["b", missing, "a"], dtype=object)):
        with pytest.raises(TypeError, match=message):
            LabeledTensors.from_numpy(np.eye(3), targets)  # type: ignore[arg-type]  # no names


def test_weights_of_an_array_may_be_integers() -> None:
    data = LabeledTensors.from_numpy(np.eye(3), [0, 1, 0], weights=[1, 0, 2])
    assert data.weights is not None
    assert data.weights.tolist() == [1.0, 0.0, 2.0]
