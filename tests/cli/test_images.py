"""Image files as raw inputs of a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from mlpkit.cli._images import ImageReader
from mlpkit.data import center_digit
from mlpkit.models import SoftmaxClassifier
from mlpkit.nn import MLP

CLOTHES = ("T-shirt", "Trouser")


def model(
    shape: tuple[int, ...], classes: Sequence[str] = ("0", "1"), mean: float = 33.3,
    std: float = 78.6,
) -> SoftmaxClassifier:  # fmt: skip
    """Return an untrained classifier of images, by default with the statistics of MNIST."""
    network = MLP(torch.Size(shape).numel(), (), 2)
    return SoftmaxClassifier(network, classes=classes, mean=mean, std=std, input_shape=shape)


@pytest.fixture
def stroke(tmp_path: Path) -> Path:
    """An image of a dark "1" on a light background, away from the center."""
    canvas = torch.full((120, 200), 230, dtype=torch.uint8)
    canvas[20:100, 150:160] = 15
    Image.fromarray(canvas.numpy()).save(tmp_path / "stroke.png")
    return tmp_path / "stroke.png"


@pytest.mark.parametrize("shape", [(28, 28), (1, 28, 28)])
def test_inputs_of_mnist_models_equal_center_digit(stroke: Path, shape: tuple[int, ...]) -> None:
    """The input has the values of center_digit, in the shape of the model."""
    raw = ImageReader(model(shape), "auto", None).read(stroke)
    assert raw.shape == shape
    assert torch.equal(raw.reshape(28, 28).to(torch.uint8), center_digit(stroke))


def test_small_digits_fill_the_image(stroke: Path) -> None:
    """For 8x8 the ink reaches the top and the bottom, is centered, and full ink is 16."""
    raw = ImageReader(model((8, 8), mean=4.9, std=6.0), "auto", None).read(stroke)
    assert raw.sum(1).min() > 8
    assert raw.max() == 16
    assert torch.equal(raw.sum(0) > 0, torch.arange(8) == 3) or raw[:, 3:5].sum() == raw.sum()


def test_clothes_are_not_centered(tmp_path: Path) -> None:
    """The whole image is scaled with its aspect ratio kept; a light background is inverted."""
    image = torch.rand(56, 28)
    image[0], image[-1], image[:, 0], image[:, -1] = 0.0, 0.0, 0.0, 0.0
    image[5, 5] = 1.0
    for name, plane in (("dark.png", image), ("light.png", 1.0 - image)):
        Image.fromarray((255 * plane).round().to(torch.uint8).numpy()).save(tmp_path / name)
    reader = ImageReader(model((28, 28), CLOTHES), "auto", None)
    small = F.interpolate(image[None, None], size=(28, 14), mode="bilinear", antialias=True)
    expected = F.pad(255 * small[0, 0], (7, 7))
    for name in ("dark.png", "light.png"):
        torch.testing.assert_close(reader.read(tmp_path / name), expected, rtol=0, atol=1.5)


def test_fit_and_ink_can_be_passed(stroke: Path) -> None:
    """Explicit values take precedence over inferred ones."""
    centered = ImageReader(model((28, 28), CLOTHES), "center", 1.0).read(stroke)
    torch.testing.assert_close(centered, center_digit(stroke).float() / 255)
    resized = ImageReader(model((28, 28)), "resize", None).read(stroke)
    rows, columns = (resized > 100).nonzero(as_tuple=True)
    assert int(columns.min()) >= 20
    assert int(rows.max() - rows.min()) < 14
