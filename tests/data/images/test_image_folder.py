"""Image folders: order, hidden files, sizes, and files that are not images."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from mlpkit.data import LabeledTensors
from mlpkit.data.images import read_sized_image
from mlpkit.errors import DataError


def write_image(path: Path, value: int, size: tuple[int, int] = (4, 3), mode: str = "L") -> None:
    """Write an image of one gray value; the size is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, cast("Any", value if mode == "L" else (value,) * len(mode))).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with two classes of two images each, written in arbitrary order."""
    write_image(tmp_path / "two" / "b.png", 40)
    write_image(tmp_path / "one" / "deeper" / "z.bmp", 20)
    write_image(tmp_path / "two" / "a.tif", 30)
    write_image(tmp_path / "one" / "c.png", 10, mode="RGB")
    return tmp_path


def test_classes_and_files_are_sorted(root: Path) -> None:
    data = LabeledTensors.from_folder(root)
    assert data.classes == ("one", "two")
    assert data.targets.tolist() == [0, 0, 1, 1]
    assert data.inputs.dtype is torch.uint8
    assert data.inputs.shape == (4, 3, 4)
    assert data.inputs[:, 0, 0].tolist() == [10, 20, 30, 40]


def test_color_gives_three_channels(root: Path) -> None:
    data = LabeledTensors.from_folder(str(root), color=True)
    assert data.inputs.shape == (4, 3, 3, 4)
    assert data.inputs[:, :, 0, 0].tolist() == [[gray] * 3 for gray in (10, 20, 30, 40)]


def test_hidden_files_and_folders_are_left_out(root: Path) -> None:
    before = LabeledTensors.from_folder(root).fingerprint
    (root / "one" / ".DS_Store").write_bytes(b"not an image")
    (root / ".cache" / "x").mkdir(parents=True)
    write_image(root / "two" / ".thumbnails" / "a.png", 99)
    (root / "README.txt").write_text("outside the class folders")
    assert LabeledTensors.from_folder(root).fingerprint == before


def test_sizes_must_agree_unless_one_is_given(root: Path) -> None:
    write_image(root / "two" / "c.png", 50, size=(8, 6))
    with pytest.raises(
        DataError, match=r"c.png must be of the same size as .*c.png, 3 x 4 pixels, got"
    ):
        LabeledTensors.from_folder(root)
    for size, expected in ((6, (6, 6)), ((2, 5), (2, 5))):
        data = LabeledTensors.from_folder(root, size=size)
        assert data.inputs.shape == (5, *expected)
        assert data.inputs.flatten(1).float().mean(dim=1).tolist() == [10, 20, 30, 40, 50]


def test_the_exif_orientation_is_applied(tmp_path: Path) -> None:
    """An image with EXIF orientation 6 is rotated clockwise by 90 degrees."""
    (tmp_path / "one").mkdir()
    array = np.zeros((2, 3), dtype=np.uint8)
    array[1, 0] = 200
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(array).save(tmp_path / "one" / "a.png", exif=exif)
    data = LabeledTensors.from_folder(tmp_path)
    assert np.array_equal(data.inputs[0].numpy(), np.rot90(array, -1))


@pytest.mark.parametrize("content", [b"", b"<html></html>", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_not_an_image_is_named(root: Path, content: bytes) -> None:
    (root / "two" / "x.png").write_bytes(content)
    with pytest.raises(
        DataError, match=r"the image .*x.png must be an image file \(PNG, .*got anoth"
    ):
        LabeledTensors.from_folder(root)


@pytest.mark.parametrize("length", [60, 200, 500])
def test_a_truncated_image_is_named(root: Path, length: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (30, 30), dtype=np.uint8)
    Image.fromarray(noise).save(root / "two" / "x.png")
    whole = (root / "two" / "x.png").read_bytes()
    (root / "two" / "x.png").write_bytes(whole[:length])
    with pytest.raises(DataError, match=r"the image .*x.png must be readable, got"):
        LabeledTensors.from_folder(root)


def test_an_image_of_too_many_pixels_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow warns above its limit, which is lowered here, and raises above twice the limit."""
    for limit in (10, 1):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(
            DataError, match=r"c.png must be within Pillow's limit .*got Image size"
        ):
            LabeledTensors.from_folder(root)


def test_invalid_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"root must be a folder of class folders, got .*nowhere"):
        LabeledTensors.from_folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match="must be a folder of class folders, got no subfolder; a"):
        LabeledTensors.from_folder(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty must be a folder with images, got an empty fo"):
        LabeledTensors.from_folder(tmp_path)
    with pytest.raises(ValueError, match="size must be a positive integer, got 0"):
        LabeledTensors.from_folder(tmp_path, size=0)


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.full((3, 4), 40_000, np.uint16), "of 8 bits per channel, got mode I;16"),
        (np.full((3, 4), 0.5, np.float32), "of 8 bits per channel, got mode F"),
        (np.full((3, 4, 4), 127, np.uint8), "opaque, got transparent pixels"),
        (np.full((3, 4, 2), 0, np.uint8), "opaque, got transparent pixels"),
    ],
)
def test_images_that_a_conversion_would_distort_are_refused(
    array: npt.NDArray[np.generic], found: str, root: Path
) -> None:
    """Pillow would clip large values to 255, and dropping alpha would reveal hidden pixels."""
    path = root / "two" / "a.tif"
    Image.fromarray(array).save(path)
    with pytest.raises(DataError, match=f"the image {re.escape(str(path))} must be {found}"):
        LabeledTensors.from_folder(root)


def test_an_opaque_alpha_channel_is_dropped(root: Path) -> None:
    expected = LabeledTensors.from_folder(root)
    Image.open(root / "two" / "b.png").convert("RGBA").save(root / "two" / "b.png")
    assert torch.equal(LabeledTensors.from_folder(root).inputs, expected.inputs)


def test_a_size_is_one_number_or_two(root: Path) -> None:
    """A pair may be a list; three numbers are refused."""
    assert LabeledTensors.from_folder(root, size=cast("Any", [5, 6])).inputs.shape[1:] == (5, 6)
    with pytest.raises(ValueError, match=r"^size must be one number, .* got \(1, 2, 3\)$"):
        LabeledTensors.from_folder(root, size=cast("Any", (1, 2, 3)))


def test_classes_give_the_indices_of_another_folder(root: Path) -> None:
    """A validation folder that lacks a class has the indices of the training folder."""
    data = LabeledTensors.from_folder(root, classes=("two", "three", "one"))
    assert data.classes == ("two", "three", "one")
    by_name = {data.classes[label]: int(label) for label in data.targets}
    assert by_name == {"two": 0, "one": 2}
    assert data.inputs[data.targets == 0, 0, 0].tolist() == [30, 40]


def test_a_folder_of_an_unknown_class_is_refused_before_an_image_is_read(root: Path) -> None:
    (root / "one" / "broken.png").write_bytes(b"not an image")
    rule = r"classes must be names that include .* \['one', 'two'\], got \['one'\]; add \['two'\]"
    with pytest.raises(ValueError, match=rule):
        LabeledTensors.from_folder(root, classes=["one"])


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize("size", [None, (3, 4), (6, 5)])
def test_one_image_is_read_as_in_a_folder(
    root: Path, color: bool, size: tuple[int, int] | None
) -> None:
    data = LabeledTensors.from_folder(root, color=color, size=size)
    image = read_sized_image(root / "two" / "b.png", size=size, color=color)
    assert torch.equal(image, data.inputs[3])
