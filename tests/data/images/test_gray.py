"""One plane of grays from every kind of picture, against Pillow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from mlpkit.data.images._gray import gray_plane


def colored() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_color_is_turned_gray_as_pillow_does() -> None:
    """Pillow, an array with channels last, a tensor with channels first: to rounding."""
    picture = colored()
    expected = np.asarray(picture.convert("L"))
    tensor = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    for image in (picture, np.asarray(picture), tensor):
        assert np.abs(gray_plane(image) - expected).max() <= 0.51


@pytest.mark.parametrize("mode", ["1", "L", "I;16", "I", "F"])
def test_gray_modes_keep_their_values(mode: str) -> None:
    picture = Image.new("L", (4, 3), 255).convert(mode)
    assert np.array_equal(gray_plane(picture), np.asarray(picture).astype(np.float64))


@pytest.mark.parametrize("mode", ["P", "CMYK", "YCbCr", "HSV", "LA", "RGBA"])
def test_other_modes_go_by_way_of_rgb(mode: str) -> None:
    picture = Image.new("RGB", (4, 3), (200, 200, 200)).convert(mode)
    expected = np.asarray(picture.convert("RGB").convert("L"))
    assert np.abs(gray_plane(picture) - expected).max() <= 0.51


@pytest.mark.parametrize(("stroke", "paper"), [(0, 255), (255, 0)])
def test_strokes_on_nothing_are_laid_on_paper_that_shows_them(stroke: int, paper: int) -> None:
    pixels = np.zeros((2, 2, 4), dtype=np.uint8)
    pixels[..., :3] = stroke
    pixels[0, 0, 3] = 255
    expected = np.full((2, 2), float(paper))
    expected[0, 0] = stroke
    assert np.array_equal(gray_plane(pixels), expected)
    assert np.array_equal(gray_plane(Image.fromarray(pixels)), expected)
    assert np.array_equal(gray_plane(torch.from_numpy(pixels).permute(2, 0, 1)), expected)


def test_truth_values_are_0_and_1() -> None:
    assert gray_plane(np.eye(3, dtype=bool)).tolist() == np.eye(3).tolist()


def test_bfloat16_and_premultiplied_alpha_are_read_too() -> None:
    """A type that NumPy has not, and a mode that Pillow converts only by a detour."""
    values = torch.tensor([[0.0, 0.5], [1.0, 0.25]])
    assert np.array_equal(gray_plane(values.bfloat16()), values.double().numpy())
    picture = Image.new("LA", (4, 3), (200, 255)).convert("La")
    assert np.abs(gray_plane(picture) - 200.0).max() <= 0.51
