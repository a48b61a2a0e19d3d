"""The catalog: complete, consistent, and in agreement with torchvision and the papers."""

from __future__ import annotations

import importlib
import math
import re
from types import ModuleType
from typing import cast, get_args

import pytest
import torch

from mlpkit.data import DatasetName, EmnistSplit, SetInfo, info
from mlpkit.data.sets._catalog import CATALOG, EMNIST_SPLITS, Source

NAMES: tuple[DatasetName, ...] = get_args(DatasetName)
SETS = [pytest.param(entry, id=entry.name) for entry in CATALOG.values()]


@pytest.fixture(scope="module")
def vision() -> ModuleType:
    """Torchvision's data sets, the oracle for the sets that both libraries have."""
    return importlib.import_module("torchvision.datasets")


def test_the_catalog_has_every_name_and_no_other() -> None:
    """The type and the tables agree."""
    assert tuple(CATALOG) == NAMES
    assert tuple(EMNIST_SPLITS) == get_args(EmnistSplit)
    for split, entry in EMNIST_SPLITS.items():
        assert CATALOG[entry.name] is entry
        assert entry.name == f"emnist_{split}"


def test_an_unknown_name_is_refused() -> None:
    """The message suggests the nearest name."""
    misspelled = cast("DatasetName", "fashion_mnst")
    with pytest.raises(ValueError, match=r"name must be one of .*, got 'fashion_mnst'; did you"):
        info(misspelled)


@pytest.mark.parametrize("entry", SETS)
def test_each_entry_is_complete(entry: SetInfo) -> None:
    """Every field that `mlpkit data info` prints is filled."""
    assert info(entry.name) is entry
    assert entry.source in get_args(Source)
    for text in (entry.title, entry.description, entry.license, entry.citation):
        assert text == text.strip() != ""
    assert entry.homepage.startswith("https://")
    assert len(set(entry.classes)) == len(entry.classes) >= 10
    assert 0 < entry.val_size < entry.num_train
    assert re.search(r"(19|20)\d\d", entry.citation), "a citation has a year"


@pytest.mark.parametrize("entry", SETS)
def test_each_entry_agrees_with_its_files(entry: SetInfo) -> None:
    """Numbers of examples, shapes and digests are consistent."""
    if entry.source == "embedded":
        assert entry.files == ()
        return
    train_images, train_labels, test_images, test_labels = entry.files
    assert train_images.shape == (entry.num_train, *entry.image_shape)
    assert test_images.shape == (entry.num_test, *entry.image_shape)
    assert train_labels.shape[0] == entry.num_train
    assert test_labels.shape[0] == entry.num_test
    assert train_images.dtype is test_images.dtype is torch.uint8
    for file in entry.files:
        assert f"idx{len(file.shape)}" in file.name
        assert not file.name.endswith(".gz")
        assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert (file.sha256 is not None) == (entry.source == "download")


@pytest.mark.parametrize("entry", SETS)
def test_mirrors_are_https_and_several(entry: SetInfo) -> None:
    """Every set that mlpkit downloads has two mirrors, and all of them use HTTPS."""
    assert len(set(entry.mirrors)) == (2 if entry.source == "download" else 0)
    for mirror in entry.mirrors:
        assert re.fullmatch(r"https://[^\s]+/", mirror)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist", "qmnist"])
def test_files_and_folder_are_torchvisions(name: DatasetName, vision: ModuleType) -> None:
    """Both libraries can share one folder."""
    entry = info(name)
    dataset = getattr(vision, entry.folder)
    found = dataset.resources
    if name == "qmnist":
        urls = [url for part in ("train", "test") for url, _ in found[part]]
    else:
        urls = [url for url, _ in found]
    assert [url.rpartition("/")[2] for url in urls] == [f"{file.name}.gz" for file in entry.files]


def test_classes_are_torchvisions(vision: ModuleType) -> None:
    """The names are in label order; of torchvision's "0 - zero" only the digit is used."""
    assert list(info("fashion_mnist").classes) == vision.FashionMNIST.classes
    assert list(info("kmnist").classes) == vision.KMNIST.classes
    for entry in (info("mnist"), info("qmnist")):
        titles = getattr(vision, entry.folder).classes
        assert list(entry.classes) == [title[0] for title in titles]
    for split, entry in EMNIST_SPLITS.items():
        classes = vision.EMNIST.classes_split_dict[split][entry.first_label :]
        assert list(entry.classes) == classes


def test_emnist_has_the_sizes_of_its_table() -> None:
    """Table II of the paper, version 2: number of classes, and splits with equal class sizes."""
    for split in ("balanced", "digits", "letters", "mnist"):
        entry = EMNIST_SPLITS[split]
        assert math.gcd(entry.num_train, len(entry.classes)) == len(entry.classes)
        assert math.gcd(entry.num_test, len(entry.classes)) == len(entry.classes)
    assert [len(entry.classes) for entry in EMNIST_SPLITS.values()] == [47, 62, 47, 10, 26, 10]
    assert info("emnist_byclass").num_train + info("emnist_byclass").num_test == 814_255
