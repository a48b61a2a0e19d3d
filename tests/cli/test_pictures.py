"""Pictures come to a model in its own form."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from mlpkit.cli._pictures import PictureReader
from mlpkit.data import center_digit
from mlpkit.models._softmax_classifier import SoftmaxClassifier
from mlpkit.nn import MLP

CLOTHES = ("T-shirt", "Trouser")


def model(
    shape: tuple[int, ...], classes: Sequence[str] = ("0", "1"), mean: float = 33.3,
    std: float = 78.6,
) -> SoftmaxClassifier:  # fmt: skip
    """Return an untrained classifier of pictures of a shape, of MNIST's statistics by default."""
    network = MLP(torch.Size(shape).numel(), (), 2)
    return SoftmaxClassifier(network, classes=classes, mean=mean, std=std, input_shape=shape)


@pytest.fixture
def stroke(tmp_path: Path) -> Path:
    """A dark "1" on light paper, off the middle."""
    canvas = torch.full((120, 200), 230, dtype=torch.uint8)
    canvas[20:100, 150:160] = 15
    Image.fromarray(canvas.numpy()).save(tmp_path / "stroke.png")
    return tmp_path / "stroke.png"


@pytest.mark.parametrize("shape", [(28, 28), (1, 28, 28)])
def test_models_of_mnist_get_what_center_digit_gives(stroke: Path, shape: tuple[int, ...]) -> None:
    """The same 28x28 bytes, in the model's shape."""
    raw = PictureReader(model(shape), "auto", None).read(stroke)
    assert raw.shape == shape
    assert torch.equal(raw.reshape(28, 28).to(torch.uint8), center_digit(stroke))


def test_small_digits_fill_their_field(stroke: Path) -> None:
    """8x8: the ink reaches the top and the bottom, stands in the middle, and full ink is 16."""
    raw = PictureReader(model((8, 8), mean=4.9, std=6.0), "auto", None).read(stroke)
    assert raw.sum(1).min() > 8
    assert raw.max() == 16
    assert torch.equal(raw.sum(0) > 0, torch.arange(8) == 3) or raw[:, 3:5].sum() == raw.sum()


def test_clothes_are_not_centerd(tmp_path: Path) -> None:
    """The whole picture, light ones inverted, in its proportions in the middle of the field."""
    picture = torch.rand(56, 28)
    picture[0], picture[-1], picture[:, 0], picture[:, -1] = 0.0, 0.0, 0.0, 0.0
    picture[5, 5] = 1.0
    for name, plane in (("dark.png", picture), ("light.png", 1.0 - picture)):
        Image.fromarray((255 * plane).round().to(torch.uint8).numpy()).save(tmp_path / name)
    reader = PictureReader(model((28, 28), CLOTHES), "auto", None)
    small = F.interpolate(picture[None, None], size=(28, 14), mode="bilinear", antialias=True)
    expected = F.pad(255 * small[0, 0], (7, 7))
    for name in ("dark.png", "light.png"):
        torch.testing.assert_close(reader.read(tmp_path / name), expected, rtol=0, atol=1.5)


def test_the_caller_decides(stroke: Path) -> None:
    """Fit and ink, where they are given, win over what is guessed."""
    centered = PictureReader(model((28, 28), CLOTHES), "center", 1.0).read(stroke)
    torch.testing.assert_close(centered, center_digit(stroke).float() / 255)
    resized = PictureReader(model((28, 28)), "resize", None).read(stroke)
    rows, columns = (resized > 100).nonzero(as_tuple=True)
    assert int(columns.min()) >= 20
    assert int(rows.max() - rows.min()) < 14
