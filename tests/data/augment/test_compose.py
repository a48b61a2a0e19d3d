"""Composed augmentations: which ones are merged, in which order, and with which draws."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor

from mlpkit.data import (
    Augmentation,
    Compose,
    RandomAffine,
    RandomElastic,
    RandomErasing,
)
from mlpkit.data._random import derive
from mlpkit.data.augment._compose import _STREAM
from mlpkit.data.augment._warp import pixel_grid

AFFINE = RandomAffine(degrees=30, scale=(0.8, 1.2), shear=10, translate=(0.1, 0.1))
ELASTIC = RandomElastic(alpha=20, sigma=3)


def test_affine_and_elastic_are_one_interpolation_at_composed_points() -> None:
    """The oracle is SciPy at the affine image of (pixel + displacement), float64, within 1e-11."""
    images = torch.randn(6, 20, 28, dtype=torch.float64)
    result = Compose([AFFINE, ELASTIC])(images, seed=4, epoch=2)
    indices = torch.arange(6)
    first, second = (derive(4, _STREAM, position) for position in (0, 1))
    field = ELASTIC.displacement(indices, (20, 28), seed=second, epoch=2).double()
    points = pixel_grid(images.unsqueeze(1)) + field
    points = AFFINE.source_points(points, seed=first, epoch=2, indices=indices)
    for index in range(6):
        where = torch.stack((points[index, 1] + 9.5, points[index, 0] + 13.5)).numpy()
        expected = map_coordinates(images[index].numpy(), where, order=1, mode="grid-constant")
        torch.testing.assert_close(result[index], torch.from_numpy(expected), rtol=0, atol=1e-11)


def test_merging_approximates_two_interpolations() -> None:
    """On smooth images one interpolation differs from two only by blur, not by order."""
    noise = torch.rand(8, 44, 44, dtype=torch.float64)
    images = torch.nn.functional.avg_pool2d(noise, 17, stride=1)
    images = images * torch.hann_window(28).outer(torch.hann_window(28))
    merged = Compose([AFFINE, ELASTIC])(images, seed=1)
    once = AFFINE(images, seed=derive(1, _STREAM, 0))
    twice = ELASTIC(once, seed=derive(1, _STREAM, 1))
    swapped = AFFINE(ELASTIC(images, seed=derive(1, _STREAM, 1)), seed=derive(1, _STREAM, 0))
    blur, order = ((merged - other).abs().mean() for other in (twice, swapped))
    assert blur < 0.003
    assert order > 5 * blur


def test_steps_that_cannot_be_merged_are_applied_in_order() -> None:
    """An affine map after an elastic one is not merged, nor is any step around an erasing."""
    images = torch.rand(5, 28, 28)
    steps: tuple[Augmentation, ...] = (ELASTIC, AFFINE, RandomErasing(p=1), AFFINE)
    expected, indices = images.clone(), torch.arange(5)
    for position, step in enumerate(steps):
        seed = derive(7, _STREAM, position)
        expected = step(expected, seed=seed, epoch=3, indices=indices)
    assert torch.equal(Compose(steps)(images, seed=7, epoch=3), expected)


def test_the_same_transform_twice_draws_twice() -> None:
    images = torch.rand(5, 28, 28)
    erasing = RandomErasing(p=1, scale=(0.1, 0.1))
    twice = Compose([erasing, erasing])(images)
    assert ((twice == 0).flatten(1).sum(1) > 100).all()


def test_uint8_is_rounded_only_at_the_end() -> None:
    images = torch.randint(0, 256, (9, 28, 28), dtype=torch.uint8)
    steps = Compose([ELASTIC, AFFINE, RandomErasing()])
    result = steps(images, seed=2)
    assert result.dtype is torch.uint8
    assert torch.equal(result, steps(images.float(), seed=2).round().to(torch.uint8))


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool])
def test_integers_are_refused_as_by_a_single_step(dtype: torch.dtype) -> None:
    images = torch.ones(2, 6, 6, dtype=dtype)
    for steps in (AFFINE, Compose([AFFINE]), Compose([AFFINE, RandomErasing()])):
        with pytest.raises(TypeError, match="images must be uint8 or floating-point, got torch"):
            steps(images, seed=2)


def test_any_callable_is_accepted() -> None:
    def invert(images: Tensor, *, seed: int, epoch: int, indices: Tensor) -> Tensor:
        return 255 - images

    images = torch.randint(0, 256, (4, 6, 6), dtype=torch.uint8)
    assert torch.equal(Compose([invert])(images), 255 - images)
    assert torch.equal(Compose([invert, Compose([invert])])(images), images)
    assert torch.equal(Compose([])(images), images)


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        ([RandomAffine], r"transforms\[0\] must be an augmentation, got .*; pass an instance"),
        ([3], r"transforms\[0\] must be an augmentation, got 3"),
        (RandomAffine(), "transforms must be a sequence of augmentations, got RandomAffine"),
    ],
)
def test_other_objects_are_refused(transforms: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Compose(transforms)
