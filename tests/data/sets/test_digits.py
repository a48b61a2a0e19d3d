"""The embedded digits against scikit-learn, their source."""

from __future__ import annotations

import importlib
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
import torch

from mlpkit.data import LabeledTensors, digits
from mlpkit.data.sets import _digits
from mlpkit.data.sets._digits import read_digits
from mlpkit.errors import DataError


@pytest.fixture(scope="module")
def oracle() -> Any:
    """The digits as scikit-learn reads them from its text file."""
    return importlib.import_module("sklearn.datasets").load_digits()


def test_every_pixel_and_label_is_scikit_learns(oracle: Any) -> None:
    """Values and order agree; only the dtype is smaller."""
    images, labels = read_digits()
    assert images.dtype is torch.uint8
    assert labels.dtype is torch.int64
    np.testing.assert_array_equal(images.numpy(), oracle.images)
    np.testing.assert_array_equal(labels.numpy(), oracle.target)


def test_license_and_citation_lie_beside_the_file() -> None:
    """CC BY requires attribution, a link to the license and a note of changes."""
    text = (files("mlpkit.data.sets") / "digits.LICENSE.md").read_text(encoding="utf-8")
    for words in ("CC BY 4.0", "creativecommons.org/licenses/by/4.0", "Alpaydin", "Changes"):
        assert words in text


def test_a_changed_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A digest detects a damaged installation."""
    monkeypatch.setattr(_digits, "_SHA256", "0" * 64)
    with pytest.raises(DataError, match=r"digits\.npz must be the file distributed with mlpk"):
        read_digits()


def rows(*parts: LabeledTensors | None) -> list[bytes]:
    """Return every example as bytes, sorted."""
    return sorted(
        bytes([int(label)]) + image.numpy().tobytes()
        for part in parts
        if part is not None
        for image, label in zip(part.inputs, part.targets, strict=True)
    )


@pytest.mark.parametrize("val_size", [0, 1, 180, 1436])
def test_the_parts_hold_every_digit_once(val_size: int) -> None:
    """No digit is missing, and none is in two parts."""
    train, val, test = digits(val_size=val_size)
    assert (0 if val is None else len(val)) == val_size
    assert (val is None) == (val_size == 0)
    assert (len(train), len(test)) == (1437 - val_size, 360)
    images, labels = read_digits()
    assert rows(train, val, test) == rows(LabeledTensors(images, labels))


def test_the_parts_are_stratified(oracle: Any) -> None:
    """The count of each class in each part is its exact share, rounded down or up twice."""
    splits = digits()
    assert splits.val is not None
    everything = np.bincount(oracle.target)
    for part in splits:
        assert part is not None
        exact = everything * len(part) / 1797
        assert (np.abs(part.class_counts.numpy() - exact) < 1.5).all()  # two splits round once each
        assert part.classes == tuple("0123456789")


def test_the_seed_moves_the_validation_digits_and_never_the_test_digits() -> None:
    """Test results of different seeds are therefore comparable."""
    first, again, other = digits(seed=1), digits(seed=1), digits(seed=2)
    assert first.val is not None
    assert again.val is not None
    assert other.val is not None
    assert first.val.fingerprint == again.val.fingerprint != other.val.fingerprint
    assert first.train.fingerprint == again.train.fingerprint != other.train.fingerprint
    assert first.test.fingerprint == other.test.fingerprint


def test_the_split_never_changes() -> None:
    """Published results depend on it. The oracle is the list of the first test digits."""
    images, _ = read_digits()
    test = digits().test
    indices = [int((images == image).all((1, 2)).nonzero()[0]) for image in test.inputs[:8]]
    assert indices == [2, 14, 18, 26, 27, 37, 39, 46]


@pytest.mark.parametrize(
    ("val_size", "rule"),
    [(1437, "less than the 1437 training examples"), (-1, "a non-negative integer")],
)
def test_a_bad_val_size_is_refused(val_size: int, rule: str) -> None:
    """A val_size out of range raises an error that states the rule."""
    with pytest.raises(ValueError, match=f"val_size must be {rule}, got {val_size}"):
        digits(val_size=val_size)
