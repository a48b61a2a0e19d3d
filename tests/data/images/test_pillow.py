"""Conversion between Pillow images and tensors, and the late import of Pillow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from PIL import Image

from mlpkit.data import LabeledTensors, center_digit
from mlpkit.data.images import is_pil_image, pil_to_tensor
from mlpkit.data.images._pillow import FORMATS, read_image, to_pil_image
from mlpkit.errors import DataError


@pytest.mark.parametrize("channels", [1, 3])
def test_a_round_trip_preserves_a_tensor(channels: int) -> None:
    planes = torch.randint(0, 256, (channels, 5, 7), dtype=torch.uint8)
    image = to_pil_image(planes)
    assert image.size == (7, 5)
    assert torch.equal(pil_to_tensor(image).view(channels, 5, 7), planes)


def test_rgba_keeps_four_channels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 4), dtype=np.uint8)
    assert np.array_equal(pil_to_tensor(Image.fromarray(pixels)).permute(1, 2, 0), pixels)


def test_black_and_white_becomes_gray() -> None:
    image = Image.fromarray(np.eye(3, dtype=bool))
    assert image.mode == "1"
    assert pil_to_tensor(image).tolist() == (255 * np.eye(3, dtype=int)).tolist()


@pytest.mark.parametrize("mode", ["I", "F", "I;16"])
def test_more_than_8_bits_per_channel_are_refused(mode: str) -> None:
    with pytest.raises(DataError, match=r"an image must be gray, RGB or RGBA with 8 bits"):
        pil_to_tensor(Image.new(mode, (2, 2)))


@pytest.mark.parametrize("kind", FORMATS)
def test_raster_formats_are_read_whatever_the_suffix(tmp_path: Path, kind: str) -> None:
    pixels = np.kron(np.eye(3, dtype=np.uint8), np.full((8, 8), 255, dtype=np.uint8))
    path = tmp_path / "image.dat"
    Image.fromarray(pixels).save(path, format=kind)
    found = np.asarray(read_image(path).convert("L")).astype(int)
    assert np.abs(found - pixels).max() < 64  # JPEG and WebP are lossy


def test_no_other_format_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by any path to a file: Pillow would start Ghostscript for EPS, and has dozens more."""
    Image.init()

    def fail(*_: object) -> None:
        raise AssertionError("the plugin of another format was called")

    for kind in set(Image.OPEN) - set(FORMATS):
        monkeypatch.setitem(Image.OPEN, kind, (fail, fail))
    path = tmp_path / "root" / "class" / "image.png"
    path.parent.mkdir(parents=True)
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    for read in (
        lambda: read_image(path),
        lambda: center_digit(path),
        lambda: LabeledTensors.from_folder(tmp_path / "root"),
    ):
        with pytest.raises(DataError, match=r"must be an image file \(PNG, .*got another format"):
            read()


def test_is_pil_image() -> None:
    assert is_pil_image(Image.new("L", (1, 1)))
    assert not is_pil_image(cast("object", np.zeros((2, 2))))


def test_a_pipe_or_a_device_is_not_opened(tmp_path: Path) -> None:
    """Opening a pipe would wait for a writer, and a device may have no end."""
    os.mkfifo(tmp_path / "pipe.png")
    for path, found in ((tmp_path / "pipe.png", "a pipe"), (Path("/dev/zero"), "a device")):
        message = rf"the image {path} must be readable, got .*not a regular file but {found}"
        with pytest.raises(DataError, match=message):
            read_image(path)
