"""Todo."""

from __future__ import annotations

from mlpkit.data.augment._augmentation import (
    Augmentation,
    checked_augmentation,
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
    "checked_augmentation",
    "image_planes",
    "uniform_draws",
]
