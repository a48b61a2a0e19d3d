"""Centered digits: MNIST's format, invariance to the kind of image, and a trained network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor, nn

from mlpkit.data import center_digit, mnist
from mlpkit.errors import DataError

GrayImage = npt.NDArray[np.uint8]
Ink = npt.NDArray[np.float64]


def stroke(height: int = 200, width: int = 240, *, scale: float = 1.0) -> Ink:
    """Return the ink of an asymmetric "4", in [0, 1], with soft edges."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    parts = ((60, 40, 60, 130), (60, 40, 110, 40), (110, 40, 110, 130), (40, 100, 160, 100))
    ink = np.zeros((height, width))
    for top, left, bottom, right in parts:
        down, across = (bottom - top) * scale, (right - left) * scale
        share = ((y - top * scale) * down + (x - left * scale) * across) / (down**2 + across**2)
        share = share.clip(0, 1)
        away = np.hypot(y - top * scale - share * down, x - left * scale - share * across)
        ink = np.maximum(ink, (6.5 * scale + 0.5 - away).clip(0, 1))
    return ink


def on_paper(ink: Ink, paper: float = 255.0, pen: float = 0.0) -> GrayImage:
    return np.round(paper + (pen - paper) * ink).astype(np.uint8)


def center_of_mass(digit: Tensor) -> tuple[float, float]:
    mass = digit.double()
    positions = torch.arange(28.0, dtype=torch.float64)
    y, x = ((mass.sum(dim=axis) * positions).sum() / mass.sum() for axis in (1, 0))
    return float(y), float(x)


def test_the_format_is_that_of_mnist() -> None:
    """Light ink on 0, a longer side of 20 pixels, and the center of mass in the middle."""
    digit = center_digit(on_paper(stroke()))
    assert digit.dtype is torch.uint8
    assert digit.shape == (28, 28)
    rows, columns = (digit > 25).any(dim=1).nonzero(), (digit > 25).any(dim=0).nonzero()
    sides = [int(found.max() - found.min()) + 1 for found in (rows, columns)]
    assert sides[0] == 20
    assert 14 <= sides[1] <= 17  # 104 wide by 134 high
    assert digit.max() == 255
    assert center_of_mass(digit) == pytest.approx((14.0, 14.0), abs=0.51)


def difference(first: Tensor, second: Tensor) -> float:
    """Return the mean absolute difference at the best shift of at most one pixel.

    The bounding box has pixel precision, so another resolution may shift the digit by one pixel.
    """
    shifts = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    return min(
        float((first.float() - second.float().roll(shift, (0, 1))).abs().mean()) for shift in shifts
    )


VARIANTS: dict[str, Callable[[Ink], Any]] = {
    "light on dark": lambda ink: on_paper(ink, 0, 255),
    "little contrast": lambda ink: on_paper(ink, 180, 120),
    "a tensor": lambda ink: torch.from_numpy(on_paper(ink)),
    "a tensor with a channel": lambda ink: torch.from_numpy(on_paper(ink))[None],
    "a color tensor": lambda ink: torch.from_numpy(on_paper(ink)).expand(3, -1, -1),
    "floating point": lambda ink: 1.0 - ink,
    "negative floating point": lambda ink: -1e6 - 100 * ink,
    "color": lambda ink: np.repeat(on_paper(ink)[..., None], 3, axis=2),
    "16 bits": lambda ink: on_paper(ink).astype(np.uint16) * 257,
    "Pillow, gray": lambda ink: Image.fromarray(on_paper(ink)),
    "Pillow, palette": lambda ink: Image.fromarray(on_paper(ink)).convert("P"),
    "dark strokes on nothing": lambda ink: _transparent(ink, 0),
    "light strokes on nothing": lambda ink: _transparent(ink, 255),
    "an opaque alpha channel": lambda ink: Image.fromarray(on_paper(ink)).convert("RGBA"),
    "uneven light": lambda ink: _shaded(ink),
    "elsewhere": lambda ink: on_paper(np.pad(ink, ((30, 9), (2, 200)))),
}


def _transparent(ink: Ink, gray: int) -> Image.Image:
    alpha = Image.fromarray(on_paper(ink, 0, 255))
    image = Image.new("RGBA", alpha.size, (gray, gray, gray, 0))
    image.putalpha(alpha)
    return image


def _shaded(ink: Ink) -> GrayImage:
    """Return dark strokes under light that decreases to one side and to the corners."""
    y, x = np.mgrid[-1 : 1 : ink.shape[0] * 1j, -1 : 1 : ink.shape[1] * 1j]
    light = 160 + 60 * x - 25 * y - 25 * x * x - 20 * y * y
    image: GrayImage = np.round(light * (1 - 0.8 * ink)).astype(np.uint8)
    return image


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_kind_of_image_gives_the_same_digit(variant: str) -> None:
    """Every variant of the image gives the digit of the plain one, within 3 gray levels."""
    ink = stroke()
    expected = center_digit(on_paper(ink))
    found = center_digit(VARIANTS[variant](ink))
    assert (found.float() - expected.float()).abs().mean() < 3.0


@pytest.mark.parametrize("scale", [0.25, 0.5, 2.0, 5.0])
def test_size_does_not_matter(scale: float) -> None:
    """The digit is from 33 to 670 pixels high; in a large image it is located first."""
    small = stroke(round(200 * scale), round(240 * scale), scale=scale)
    expected, found = center_digit(on_paper(stroke())), center_digit(on_paper(small))
    assert difference(found, expected) < 10.0
    assert difference(found.flip(1), expected) > 20.0  # another shape differs more


def test_a_small_digit_in_a_large_photograph_keeps_its_detail() -> None:
    ink = np.pad(stroke(), ((900, 700), (300, 1500)))
    assert difference(center_digit(on_paper(ink)), center_digit(on_paper(stroke()))) < 2.0


def test_noise_and_specks_do_not_matter() -> None:
    ink = stroke()
    ink[20:23, 200:203] = 1.0
    ink[180, 10] = 1.0
    grays = 200 - 120 * ink + np.random.default_rng(0).normal(0, 6, ink.shape)
    assert difference(center_digit(grays), center_digit(on_paper(stroke()))) < 6.0


@pytest.mark.parametrize("shape", [(1, 1), (5, 5), (28, 28), (60, 300), (3000, 100)])
@pytest.mark.parametrize("gray", [0, 255])
def test_an_empty_image_is_refused(shape: tuple[int, int], gray: int) -> None:
    with pytest.raises(DataError, match="image must be an image of a digit, got an image in whic"):
        center_digit(np.full(shape, gray, dtype=np.uint8))


@pytest.mark.parametrize("seed", range(5))
def test_noise_and_shade_alone_are_empty(seed: int) -> None:
    generator = np.random.default_rng(seed)
    with pytest.raises(DataError, match="an image in which nothing stands out"):
        center_digit(_shaded(np.zeros((240, 300))) + generator.normal(0, 3, (240, 300)))


def test_files_are_read(tmp_path: Path) -> None:
    ink = stroke()
    Image.fromarray(on_paper(ink)).save(tmp_path / "four.png")
    assert torch.equal(center_digit(tmp_path / "four.png"), center_digit(on_paper(ink)))
    assert torch.equal(center_digit(str(tmp_path / "four.png")), center_digit(on_paper(ink)))
    with pytest.raises(DataError, match=r"the image .*none.png must be a file, got no such f"):
        center_digit(tmp_path / "none.png")


def test_unsupported_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"image must be of shape \(H, W\).* got \(2, 28, 28\)"):
        center_digit(np.zeros((2, 28, 28)))
    with pytest.raises(ValueError, match="image must be finite in every pixel, got NaN or infin"):
        center_digit(np.full((9, 9), np.nan))
    with pytest.raises(ValueError, match=r"image must be of shape .*got \(0, 4\)"):
        center_digit(np.zeros((0, 4)))
    with pytest.raises(TypeError, match="image must be of real numbers, got dtype"):
        center_digit(np.zeros((9, 9), dtype=np.complex64))
    with pytest.raises(TypeError, match="image must be a path, a Pillow image, an array or a te"):
        center_digit(cast("str", 3))


def pasted(digit: Tensor, generator: np.random.Generator) -> GrayImage:
    """Return an MNIST digit on a canvas, with random scale, place, polarity, light and noise."""
    side = round(28 * generator.uniform(0.75, 5))
    height, width = (side + round(side * generator.uniform(0.1, 1.5)) for _ in range(2))
    top, left = generator.integers(height - side + 1), generator.integers(width - side + 1)
    resized = Image.fromarray(digit.numpy()).resize((side, side), Image.Resampling.BICUBIC)
    ink = np.zeros((height, width))
    ink[top : top + side, left : left + side] = np.asarray(resized) / 255
    kind = generator.integers(4)
    if kind == 3:
        grays = _shaded(ink) + generator.normal(0, 4, ink.shape)
        return grays.clip(0, 255).astype(np.uint8)
    paper, pen = ((0, 255), (255, 0), (180, 120))[kind]
    return on_paper(ink, paper, pen)


@pytest.mark.mnist
def test_a_network_recognizes_digits_pasted_anywhere(mnist_root: Path) -> None:
    """The accuracy on 600 pasted test digits is at most 1.5 points below that on the originals.

    The network has 128 hidden units, is trained for two epochs and errs on about 4 percent of the
    originals.
    """
    splits = mnist(mnist_root)
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.9)
    for epoch in range(2):
        for batch in splits.train.batches(256, drop_last=True).epoch(epoch):
            loss = F.cross_entropy(net(batch.inputs / 255), batch.targets)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
    generator = np.random.default_rng(0)
    test = splits.test.subset(torch.from_numpy(generator.permutation(10_000)[:600]))
    centered = torch.stack([center_digit(pasted(digit, generator)) for digit in test.inputs])
    with torch.no_grad():
        num_correct = [
            int((net(images / 255).argmax(dim=1) == test.targets).sum())
            for images in (test.inputs, centered)
        ]
    assert num_correct[0] > 0.94 * 600
    assert num_correct[1] > num_correct[0] - 0.015 * 600, num_correct


def tight(ink: Ink) -> Ink:
    """Return the bounding box of the ink."""
    rows, columns = (np.flatnonzero((ink > 0.1).any(axis=axis)) for axis in (1, 0))
    box: Ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return box


@pytest.mark.parametrize("margin", [0, 1, 3, 10])
@pytest.mark.parametrize("noise", [0.0, 5.0])
@pytest.mark.parametrize(("paper", "pen"), [(255.0, 0.0), (20.0, 240.0)])
def test_a_tight_crop_is_padded(margin: int, noise: float, paper: float, pen: float) -> None:
    """Without paper around it, the digit is that of the whole picture."""
    ink = stroke()
    cropped = np.pad(tight(ink), margin)
    grays = paper + (pen - paper) * cropped
    grays += np.random.default_rng(0).normal(0.0, 1.0, grays.shape) * noise
    found = center_digit(grays.clip(0, 255).astype(np.uint8))
    assert difference(found, center_digit(on_paper(ink))) < 6.0


@pytest.mark.mnist
@pytest.mark.parametrize("scale", [1, pytest.param(4, marks=pytest.mark.long)])
def test_tightly_cropped_digits_are_found(mnist_root: Path, scale: int) -> None:
    """Of 200 digits without margin, at least 190 are those with a margin, within a few levels.

    The others are ones of 4 x 20 pixels, of which no pixel is paper.
    """
    images = mnist(mnist_root).test.inputs[:200].float()[:, None] / 255
    enlarged = F.interpolate(images, scale_factor=scale, mode="bilinear")[:, 0].double().numpy()
    good = 0
    for ink in enlarged:
        cropped = tight(ink)
        expected = center_digit(on_paper(np.pad(cropped, 14 * scale)))
        try:
            good += difference(center_digit(on_paper(cropped)), expected) < 10.0
        except DataError:
            continue
    assert good >= 190


def framed(ink: Ink, inset: int, width: int) -> Ink:
    """Return the ink with a rectangle drawn around it."""
    ink = ink.copy()
    inner = ink[inset : ink.shape[0] - inset, inset : ink.shape[1] - inset]
    inner[:width] = inner[-width:] = inner[:, :width] = inner[:, -width:] = 1.0
    return ink


def ruled(ink: Ink, distance: int, width: int, *, slope: float = 0.0, level: float = 1.0) -> Ink:
    """Return the ink on ruled paper."""
    y, x = np.mgrid[0 : ink.shape[0], 0 : ink.shape[1]]
    lined: Ink = np.maximum(ink, level * ((y + slope * x) % distance < width))
    return lined


LINES: dict[str, Callable[[Ink], Ink]] = {
    "a frame at the border": lambda ink: framed(ink, 0, 3),
    "a thick frame": lambda ink: framed(ink, 0, 14),
    "a frame with a margin": lambda ink: framed(ink, 8, 2),
    "ruled": lambda ink: ruled(ink, 45, 2),
    "pale lines": lambda ink: ruled(ink, 45, 2, level=0.5),
    "lines at an angle": lambda ink: ruled(ink, 45, 3, slope=0.06),
    "columns": lambda ink: ruled(ink.T, 45, 2).T,
    "a grid": lambda ink: np.maximum(ruled(ink, 45, 2), ruled(ink.T, 45, 2).T),
    "one line through the digit": lambda ink: ruled(ink, 90, 3),
    "a large picture": lambda ink: ruled(ink.repeat(4, axis=0).repeat(4, axis=1), 200, 8),
}


@pytest.mark.parametrize("kind", LINES)
def test_lines_across_the_picture_are_named(kind: str) -> None:
    """Scaled to the size of a digit, a frame or a line would give a confident wrong answer."""
    with pytest.raises(DataError, match=r"got an image with a line that spans the picture or a f"):
        center_digit(on_paper(LINES[kind](stroke())))


def test_strokes_of_a_digit_are_no_lines() -> None:
    """A bar from side to side is as thick as a stroke, and nothing is inside a box-shaped zero."""
    seven = np.zeros((60, 40))
    seven[:6] = 1.0
    seven[:, -6:] = 1.0
    zero = np.ones((60, 40))
    zero[6:-6, 6:-6] = 0.0
    one = np.zeros((60, 20))
    one[:, 7:13] = 1.0
    for digit in (seven, zero, one):
        for margin in (0, 2, 20):
            found = center_digit(on_paper(np.pad(digit, margin)))
            expected = center_digit(on_paper(np.pad(digit, 40)))
            assert difference(found, expected) < 8.0


@pytest.mark.parametrize("width", [3, 6, 10, 14, 20])
@pytest.mark.parametrize(
    "points",
    [
        [(100, 10), (100, 190)],
        [(70, 50), (100, 15), (100, 185)],
        [(60, 15), (110, 15), (100, 185)],
        [(15, 20), (185, 20), (90, 190)],
        [(20, 30), (100, 10), (180, 60), (15, 185), (190, 185)],
        [(15, 15), (185, 15), (185, 185), (15, 185), (15, 15)],
    ],
)
def test_a_thin_digit_that_fills_the_picture_is_no_line(
    points: list[tuple[int, int]], width: int
) -> None:
    image = Image.new("L", (200, 200), 255)
    ImageDraw.Draw(image).line(points, fill=0, width=width)
    assert center_digit(np.asarray(image)).max() > 200
