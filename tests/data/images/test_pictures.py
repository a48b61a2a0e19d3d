"""Pillow's images to tensors and back, and Pillow left alone until it is needed."""

from __future__ import annotations

import subprocess
import sys
from typing import cast

import numpy as np
import pytest
import torch
from PIL import Image

from mlpkit.data.images._pictures import is_picture, picture_from_tensor, picture_to_tensor
from mlpkit.errors import DataError


@pytest.mark.parametrize("channels", [1, 3])
def test_a_tensor_comes_back_from_its_picture(channels: int) -> None:
    planes = torch.randint(0, 256, (channels, 5, 7), dtype=torch.uint8)
    picture = picture_from_tensor(planes)
    assert picture.size == (7, 5)
    assert torch.equal(picture_to_tensor(picture).view(channels, 5, 7), planes)


def test_rgba_keeps_four_channels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 4), dtype=np.uint8)
    assert np.array_equal(picture_to_tensor(Image.fromarray(pixels)).permute(1, 2, 0), pixels)


def test_black_and_white_becomes_gray() -> None:
    picture = Image.fromarray(np.eye(3, dtype=bool))
    assert picture.mode == "1"
    assert picture_to_tensor(picture).tolist() == (255 * np.eye(3, dtype=int)).tolist()


@pytest.mark.parametrize("mode", ["I", "F", "I;16"])
def test_more_than_8_bits_are_not_cut_in_silence(mode: str) -> None:
    with pytest.raises(DataError, match=r"a picture must be gray, RGB or RGBA with 8 bits"):
        picture_to_tensor(Image.new(mode, (2, 2)))


def test_what_a_picture_is() -> None:
    assert is_picture(Image.new("L", (1, 1)))
    assert not is_picture(cast("object", np.zeros((2, 2))))


def test_importing_the_data_room_leaves_pillow_alone() -> None:
    code = "import sys, mlpkit.data; print({'PIL', 'torchvision', 'scipy'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
