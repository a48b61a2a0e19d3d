"""Random augmentations of images, each a pure function of seed, epoch and example index."""

from __future__ import annotations

from mlpkit.data.augment._augmentation import (
    Augmentation,
    check_augmentation,
    image_planes,
    uniform_draws,
)
from mlpkit.data.augment._compose import Compose
from mlpkit.data.augment._random_affine import AffineParameters, RandomAffine
from mlpkit.data.augment._random_elastic import RandomElastic
from mlpkit.data.augment._random_erasing import RandomErasing, Rectangles

__all__ = [
    "AffineParameters",
    "Augmentation",
    "Compose",
    "RandomAffine",
    "RandomElastic",
    "RandomErasing",
    "Rectangles",
    "check_augmentation",
    "image_planes",
    "uniform_draws",
]
