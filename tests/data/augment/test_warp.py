"""Warping of images against SciPy, and bit-exactness where no point moves."""

from __future__ import annotations

import pytest
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor

from mlpkit.data import Augmentation, Compose, RandomAffine, RandomElastic
from mlpkit.data.augment._warp import pixel_grid, warp

IDENTITIES: list[Augmentation] = [
    RandomAffine(),
    RandomElastic(alpha=0),
    Compose([RandomAffine(), RandomElastic(alpha=0)]),
    Compose([RandomElastic(alpha=0), RandomAffine(), RandomAffine()]),
]
SHAPES = [(3, 28, 28), (3, 1, 28, 28), (2, 3, 27, 19), (1, 1, 1), (4, 33, 64), (2, 5, 1), (0, 8, 8)]


class FixedDisplacement:
    """A warp with a given displacement."""

    def __init__(self, displacement: Tensor) -> None:
        self.displacement = displacement

    def source_points(self, points: Tensor, *, seed: int, epoch: int, indices: Tensor) -> Tensor:
        assert (seed, epoch) == (0, 0)
        return points + self.displacement[indices]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("transform", IDENTITIES, ids=["affine", "elastic", "merged", "two steps"])
def test_an_identity_map_preserves_every_bit(
    transform: Augmentation, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    if dtype is torch.uint8:
        images = torch.randint(0, 256, shape, dtype=dtype)
    else:
        images = torch.randn(shape, dtype=dtype) * 1e3
    result = transform(images, seed=1, epoch=2, indices=torch.arange(len(images)))
    assert result.dtype is dtype
    assert torch.equal(result, images)


@pytest.mark.parametrize("shape", [(4, 28, 28), (4, 2, 11, 17)])
def test_bilinear_interpolation_is_that_of_scipy(shape: tuple[int, ...]) -> None:
    """Random displacements, also far outside the image, in float64, within 1e-11."""
    images, indices = torch.randn(shape, dtype=torch.float64), torch.arange(4)
    height, width = shape[-2:]
    displacement = torch.randn(4, 2, height, width, dtype=torch.float64) * 6
    result = warp(images, [(FixedDisplacement(displacement), 0)], epoch=0, indices=indices)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    for index in range(4):
        where = torch.stack((y + displacement[index, 1], x + displacement[index, 0])).numpy()
        for plane, found in zip(
            images[index].view(-1, height, width),
            result[index].view(-1, height, width),
            strict=True,
        ):
            expected = map_coordinates(plane.numpy(), where, order=1, mode="grid-constant")
            torch.testing.assert_close(found, torch.from_numpy(expected), rtol=0, atol=1e-11)


def test_whole_pixels_move_without_loss() -> None:
    """A displacement of (1, -2) reads the pixel one to the right and two above."""
    images, indices = torch.randint(0, 256, (2, 9, 9), dtype=torch.uint8), torch.arange(2)
    displacement = torch.tensor([1.0, -2.0]).view(1, 2, 1, 1).expand(2, 2, 9, 9)
    result = warp(images, [(FixedDisplacement(displacement), 0)], epoch=0, indices=indices)
    assert torch.equal(result[:, 2:, :-1], images[:, :-2, 1:])
    assert not result[:, :2].any()
    assert not result[:, :, -1].any()


def test_uint8_is_rounded_to_the_nearest_integer() -> None:
    images = torch.randint(0, 256, (20, 28, 28), dtype=torch.uint8)
    affine = RandomAffine(degrees=40, scale=(0.7, 1.4))
    exact = affine(images.double(), seed=3)
    assert (affine(images, seed=3) - exact).abs().max() < 0.501


def test_bfloat16_is_computed_in_float32_and_rounded_once() -> None:
    images = torch.rand(20, 28, 28).bfloat16()
    elastic = RandomElastic()
    assert torch.equal(elastic(images), elastic(images.float()).bfloat16())


def test_autocast_does_not_affect_the_coordinates() -> None:
    images = torch.rand(4, 28, 28)
    affine = RandomAffine(degrees=40)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = affine(images)
    assert torch.equal(inside, affine(images))


def test_chunks_do_not_change_the_result() -> None:
    """Large batches are processed in chunks; single images give the same bits."""
    images = torch.randint(0, 256, (600, 28, 28), dtype=torch.uint8)
    both = Compose([RandomAffine(degrees=20, shear=10), RandomElastic()])
    whole = both(images, seed=5)
    indices = torch.arange(600)
    for part in (slice(0, 1), slice(250, 263), slice(599, 600)):
        assert torch.equal(both(images[part], seed=5, indices=indices[part]), whole[part])


def test_the_grid_is_relative_to_the_center() -> None:
    grid = pixel_grid(torch.zeros(1, 1, 2, 3))
    assert grid.tolist() == [[[[-1.0, 0.0, 1.0]] * 2, [[-0.5] * 3, [0.5] * 3]]]


@pytest.mark.parametrize("transform", [RandomAffine(degrees=15, shear=9), RandomElastic()])
def test_no_float32_matrix_product_may_round_the_points(
    transform: RandomAffine | RandomElastic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Points are bit-identical at every float32 precision, and no float32 bmm is called."""
    images = torch.rand(5, 28, 28)
    product = torch.bmm

    def exact(left: Tensor, right: Tensor) -> Tensor:
        assert left.dtype is torch.float64
        return product(left, right)

    monkeypatch.setattr(torch, "bmm", exact)
    before = torch.get_float32_matmul_precision()
    results = []
    try:
        for precision in ("highest", "medium"):
            torch.set_float32_matmul_precision(precision)
            results.append(transform(images, seed=1, epoch=0))
    finally:
        torch.set_float32_matmul_precision(before)
    assert torch.equal(*results)
