"""Draw the contact sheets of the guide on augmentation: `python docs/make_contact_sheets.py`.

It needs the MNIST files, downloaded or in the folder that MLPKIT_DATA names.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from mlpkit._files import write_atomically
from mlpkit.data import (
    Augmentation,
    Compose,
    RandomAffine,
    RandomElastic,
    RandomErasing,
    center_digit,
    contact_sheet,
    mnist,
)

FOLDER = Path(__file__).parent / "_static"
EPOCHS = 5  # rows below the originals


def distorted(images: Tensor, augment: Augmentation) -> Tensor:
    """Return the original images and their augmentations in the first epochs, one row each."""
    indices = torch.arange(len(images))
    rows = [augment(images, seed=0, epoch=epoch, indices=indices) for epoch in range(EPOCHS)]
    return torch.cat([images, *rows])


def save(name: str, sheet: Image.Image) -> None:
    """Write one sheet as a small PNG."""
    write_atomically(FOLDER / name, lambda file: sheet.save(file, "PNG", optimize=True))


def photograph(digit: Tensor, generator: np.random.Generator) -> Tensor:
    """Return a simulated photograph of a digit on unevenly lit paper, `(120, 120)`."""
    side = int(generator.integers(40, 90))
    ink = np.zeros((120, 120))
    top, left = generator.integers(0, 120 - side, 2)
    resized = Image.fromarray(digit.numpy()).resize((side, side), Image.Resampling.BICUBIC)
    ink[top : top + side, left : left + side] = np.asarray(resized) / 255
    y, x = np.mgrid[-0.5:0.5:120j, -0.5:0.5:120j]
    tilt_x, tilt_y, bend = generator.uniform(-0.6, 0.6, 3)
    light = 170 * (1 + tilt_x * x + tilt_y * y + bend * x * x)
    grays = light * (1 - 0.75 * ink) + generator.normal(0, 4, ink.shape)
    return torch.from_numpy(grays.clip(0, 255).astype(np.uint8))


def grid_lines(size: int = 84, step: int = 7) -> Tensor:
    """Return an image of a grid, which makes a deformation visible."""
    picture = Image.new("L", (size, size))
    draw = ImageDraw.Draw(picture)
    for place in range(0, size, step):
        draw.line((place, 0, place, size), fill=255)
        draw.line((0, place, size, place), fill=255)
    return torch.from_numpy(np.array(picture))


def main() -> None:
    """Draw every sheet."""
    test = mnist().test
    first = [int((test.targets == label).nonzero()[0]) for label in range(10)]
    digits = test.inputs[torch.tensor(first)]
    affine = RandomAffine(degrees=15, shear=15, scale=(0.85, 1.15))
    elastic = RandomElastic(alpha=37, sigma=5.5)
    save("affine.png", contact_sheet(distorted(digits, affine)))
    save("elastic.png", contact_sheet(distorted(digits, RandomElastic(alpha=34, sigma=4))))
    save("affine-elastic.png", contact_sheet(distorted(digits, Compose([affine, elastic]))))
    save("erasing.png", contact_sheet(distorted(digits, RandomErasing(p=0.5))))

    settings = [(8, 2), (20, 3), (34, 4), (37, 5.5), (60, 8)]
    lines = grid_lines().unsqueeze(0)
    # At three times the size sigma is 3 times and alpha 9 times as large, because the displacement
    # after smoothing is proportional to alpha / sigma.
    fields = [RandomElastic(alpha=9 * alpha, sigma=3 * sigma)(lines) for alpha, sigma in settings]
    labels = [f"{alpha} / {sigma:g}" for alpha, sigma in settings]
    save("elastic-settings.png", contact_sheet(torch.cat(fields), labels, columns=5, zoom=1))

    generator = np.random.default_rng(0)
    photographs = torch.stack([photograph(digit, generator) for digit in digits])
    centered = torch.stack([center_digit(picture) for picture in photographs])
    enlarged = torch.nn.functional.interpolate(centered.unsqueeze(1), size=(112, 112))[:, 0]
    framed = torch.nn.functional.pad(enlarged, (4, 4, 4, 4))
    save("center-digit.png", contact_sheet(torch.cat([photographs, framed]), zoom=1))


if __name__ == "__main__":
    main()
