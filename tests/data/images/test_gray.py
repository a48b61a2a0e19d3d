"""The gray plane of every kind of image, against Pillow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from mlpkit.data.images import gray_plane


def colored() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_color_is_converted_to_gray_as_by_pillow() -> None:
    """A Pillow image, an array (H, W, 3) and a tensor (3, H, W) agree up to rounding."""
    colors = colored()
    expected = np.asarray(colors.convert("L"))
    tensor = torch.from_numpy(np.array(colors)).permute(2, 0, 1)
    for image in (colors, np.asarray(colors), tensor):
        assert np.abs(gray_plane(image) - expected).max() <= 0.51


@pytest.mark.parametrize("mode", ["1", "L", "I;16", "I", "F"])
def test_gray_modes_keep_their_values(mode: str) -> None:
    image = Image.new("L", (4, 3), 255).convert(mode)
    assert np.array_equal(gray_plane(image), np.asarray(image).astype(np.float64))


@pytest.mark.parametrize("mode", ["P", "CMYK", "YCbCr", "HSV", "LA", "RGBA"])
def test_other_modes_are_converted_by_way_of_rgb(mode: str) -> None:
    image = Image.new("RGB", (4, 3), (200, 200, 200)).convert(mode)
    expected = np.asarray(image.convert("RGB").convert("L"))
    assert np.abs(gray_plane(image) - expected).max() <= 0.51


@pytest.mark.parametrize(("stroke", "paper"), [(0, 255), (255, 0)])
def test_transparent_images_get_a_background_with_contrast(stroke: int, paper: int) -> None:
    pixels = np.zeros((2, 2, 4), dtype=np.uint8)
    pixels[..., :3] = stroke
    pixels[0, 0, 3] = 255
    expected = np.full((2, 2), float(paper))
    expected[0, 0] = stroke
    assert np.array_equal(gray_plane(pixels), expected)
    assert np.array_equal(gray_plane(Image.fromarray(pixels)), expected)
    assert np.array_equal(gray_plane(torch.from_numpy(pixels).permute(2, 0, 1)), expected)


def test_bool_values_become_0_and_1() -> None:
    assert gray_plane(np.eye(3, dtype=bool)).tolist() == np.eye(3).tolist()


def test_bfloat16_and_premultiplied_alpha_are_supported() -> None:
    """NumPy has no bfloat16, and Pillow converts the mode La only to LA."""
    values = torch.tensor([[0.0, 0.5], [1.0, 0.25]])
    assert np.array_equal(gray_plane(values.bfloat16()), values.double().numpy())
    image = Image.new("LA", (4, 3), (200, 255)).convert("La")
    assert np.abs(gray_plane(image) - 200.0).max() <= 0.51
