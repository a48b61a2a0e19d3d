"""The public functions: common signature, documentation, standard splits and errors."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import cast, get_args

import pytest
import torch

from mlpkit import data
from mlpkit.data import (
    DatasetName,
    EmnistSplit,
    LabeledTensors,
    Splits,
    digits,
    emnist,
    fashion_mnist,
    info,
    kmnist,
    load,
    mnist,
    qmnist,
    write_idx,
)

NAMES: tuple[DatasetName, ...] = get_args(DatasetName)
FILED = tuple(name for name in NAMES if name != "digits")
SPLITS: tuple[EmnistSplit, ...] = get_args(EmnistSplit)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder in torchvision's layout with a few examples of every set."""
    generator = torch.Generator().manual_seed(0)
    for name in FILED:
        entry = info(name)
        folder = tmp_path / entry.folder / "raw"
        folder.mkdir(parents=True, exist_ok=True)
        for file, number in zip(entry.files, (200, 200, 70, 70), strict=True):
            shape = (number, *file.shape[1:])
            if len(shape) == 3:
                tensor = torch.randint(0, 256, shape, generator=generator)
            else:
                labels = torch.arange(number) % len(entry.classes) + entry.first_label
                tensor = labels if len(shape) == 1 else labels[:, None].expand(shape)
            write_idx(folder / file.name, tensor.to(file.dtype))
    return tmp_path


def by_its_function(name: DatasetName, root: Path, val_size: int, seed: int) -> Splits:
    """Return a data set by the function of its name."""
    if name.startswith("emnist_"):
        split = cast("EmnistSplit", name.removeprefix("emnist_"))
        return emnist(split, root, verify=False, download=False, val_size=val_size, seed=seed)
    functions = {
        "mnist": mnist,
        "fashion_mnist": fashion_mnist,
        "kmnist": kmnist,
        "qmnist": qmnist,
    }
    return functions[name](root, verify=False, download=False, val_size=val_size, seed=seed)


@pytest.mark.parametrize("name", FILED)
def test_each_set_by_function_and_by_name(name: DatasetName, root: Path) -> None:
    """Both return the same examples, with the shapes and classes of the catalog."""
    splits = by_its_function(name, root, 62, 3)
    again = load(name, root, val_size=62, seed=3, verify=False, download=False)
    assert isinstance(splits, Splits)
    for part, same, number in zip(splits, again, (138, 62, 70), strict=True):
        assert isinstance(part, LabeledTensors)
        assert same is not None
        assert part.fingerprint == same.fingerprint
        assert part.inputs.shape == (number, *info(name).image_shape)
        assert part.inputs.dtype is torch.uint8
        assert part.targets.dtype is torch.int64
        assert part.classes == info(name).classes


def test_load_knows_every_name(root: Path) -> None:
    """This includes the embedded set, which needs no root."""
    for name in NAMES:
        assert load(name, root, val_size=10, verify=False, download=False).val is not None
    assert load("digits").test.fingerprint == digits().test.fingerprint
    with pytest.raises(ValueError, match=r"name must be one of .*, got 'mnits'; did you mean 'mni"):
        load(cast("DatasetName", "mnits"))


@pytest.mark.parametrize("function", [digits, mnist, fashion_mnist, kmnist, qmnist, emnist, load])
def test_every_argument_is_documented(function: Callable[..., Splits]) -> None:
    """`help` lists each argument once, in the order of the signature, before the errors."""
    lines = inspect.getdoc(function) or ""
    arguments = lines[lines.index("Args:") : lines.index("Raises:")]
    documented = re.findall(r"^    (\w+): ", arguments, re.MULTILINE)
    assert documented == list(inspect.signature(function).parameters)
    assert not re.search(r"[{}]", lines)


def test_the_documentation_names_folder_mirrors_and_verification() -> None:
    """The shared description is filled from the catalog entry of each data set."""
    for function, folder, mirrors, verified in (
        (mnist, "MNIST", 'info("mnist").mirrors', "by the SHA-256 of their content"),
        (
            fashion_mnist,
            "FashionMNIST",
            'info("fashion_mnist").mirrors',
            "by the SHA-256 of their content",
        ),
        (kmnist, "KMNIST", "None uses\n        torchvision's.", "by their numbers of images"),
        (qmnist, "QMNIST", "None uses\n        torchvision's.", "by their numbers of images"),
        (emnist, "EMNIST", "None uses\n        torchvision's.", "by their numbers of images"),
    ):
        text = inspect.getdoc(function) or ""
        assert f"``{folder}/raw``" in text
        assert mirrors in text
        assert verified in text
        assert ("MissingDependencyError" in text) is (info_source(function) == "torchvision")


def info_source(function: Callable[..., Splits]) -> str:
    """Return the source of the files of a data set, by the name of its function."""
    name = function.__name__
    return info(cast("DatasetName", "emnist_digits" if name == "emnist" else name)).source


def test_the_signatures_are_equal() -> None:
    """All functions have the same arguments in the same order with the same defaults."""
    expected = inspect.signature(mnist)
    for function in (fashion_mnist, kmnist, qmnist):
        assert inspect.signature(function) == expected
    with_split = list(inspect.signature(emnist).parameters.values())
    assert with_split[0].name == "split"
    assert with_split[1:] == list(expected.parameters.values())
    by_name = inspect.signature(load).parameters
    assert list(by_name)[1:] == list(expected.parameters)
    for name in NAMES:
        named = digits if name == "digits" else mnist
        assert inspect.signature(named).parameters["val_size"].default == info(name).val_size


def test_every_split_of_emnist_has_its_name(root: Path) -> None:
    """Another split is refused."""
    for split in SPLITS:
        facts = info(cast("DatasetName", f"emnist_{split}"))
        found = emnist(split, root, val_size=0, verify=False, download=False)
        assert found.train.classes == facts.classes
    with pytest.raises(ValueError, match=r"split must be one of .*, got 'letter'; did you mean"):
        emnist(cast("EmnistSplit", "letter"), root)


def test_the_validation_part_is_stratified_and_chosen_by_the_seed(root: Path) -> None:
    """There are 200 training examples, 20 of each class; the test part does not change."""
    first, other = (by_its_function("mnist", root, 50, seed) for seed in (1, 2))
    for splits in (first, other):
        assert splits.val is not None
        assert splits.val.class_counts.tolist() == [5] * 10
        assert splits.train.class_counts.tolist() == [15] * 10
    assert first.val is not None
    assert other.val is not None
    assert first.val.fingerprint != other.val.fingerprint
    assert first.test.fingerprint == other.test.fingerprint


def test_nothing_held_out(root: Path) -> None:
    """A val_size of 0 leaves the training files as they are."""
    splits = by_its_function("mnist", root, 0, 0)
    assert splits.val is None
    assert splits.train.targets.tolist() == [index % 10 for index in range(200)]


@pytest.mark.parametrize("val_size", [200, 5000])
def test_a_val_size_that_leaves_no_examples_of_custom_files(val_size: int, root: Path) -> None:
    """The number of examples is known only after the files are read."""
    rule = f"val_size must be less than the 200 training examples, got {val_size}; hold out fewer"
    with pytest.raises(ValueError, match=rule):
        by_its_function("mnist", root, val_size, 0)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"val_size": 60_000}, ValueError, "val_size must be less than the 60000 training"),
        ({"val_size": -1}, ValueError, "val_size must be a non-negative integer, got -1"),
        ({"val_size": 0.5}, TypeError, "val_size must be a non-negative integer, got 0.5"),
        ({"download": "no"}, TypeError, "download must be True or False, got 'no'"),
        ({"verify": 0}, TypeError, "verify must be True or False, got 0"),
        ({"mirrors": "https://x"}, TypeError, "mirrors must be a sequence of URLs, got 'https://"),
    ],
)
def test_bad_arguments_are_refused_before_any_file_is_opened(
    options: dict[str, object], error: type[Exception], match: str, tmp_path: Path
) -> None:
    """The folder is empty, and the error is not about missing files."""
    call = cast("Callable[..., Splits]", mnist)
    with pytest.raises(error, match=match):
        call(tmp_path, **options)


def test_the_environment_names_the_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLPKIT_DATA replaces the argument root."""
    monkeypatch.setenv("MLPKIT_DATA", str(root))
    assert len(mnist(verify=False, val_size=0).train) == 200


def test_standard_mnist(mnist_root: Path) -> None:
    """55,000, 5,000 and 10,000 examples, with the published class counts."""
    train, val, test = mnist(mnist_root, download=False)
    assert val is not None
    published = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert (train.class_counts + val.class_counts).tolist() == published
    assert (len(train), len(val), len(test)) == (55_000, 5_000, 10_000)
    assert test.class_counts.tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    exact = torch.tensor(published) * 5_000 / 60_000
    assert ((val.class_counts - exact).abs() < 1).all()


def test_public_names_are_sorted_and_exist() -> None:
    """Every name in `__all__` is an attribute."""
    assert data.__all__ == sorted(data.__all__)
    for name in data.__all__:
        assert getattr(data, name) is not None
