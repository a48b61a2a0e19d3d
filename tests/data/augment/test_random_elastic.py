"""Elastic deformation against torchvision and SciPy, and the statistics of its displacements."""

from __future__ import annotations

import dataclasses
import importlib
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from mlpkit.data import RandomElastic
from mlpkit.data._random import derive, noise
from mlpkit.data.augment._random_elastic import _STREAM


def test_torchvision_agrees_image_by_image() -> None:
    """Torchvision's `elastic` with the same displacement, float32, within 2e-4 in [0, 1]."""
    functional = importlib.import_module("torchvision.transforms.v2.functional")
    images = torch.nn.functional.avg_pool2d(torch.rand(16, 36, 36), 9, stride=1)
    images[:, [0, -1]] = 0
    images[:, :, [0, -1]] = 0
    elastic = RandomElastic(alpha=34, sigma=4)
    result = elastic(images, seed=3, epoch=1)
    field = elastic.displacement(torch.arange(16), (28, 28), seed=3, epoch=1)
    for index in range(16):
        # torchvision's unit of displacement is half the image.
        displacement = field[index].permute(1, 2, 0).unsqueeze(0) * 2 / 28
        expected = functional.elastic(
            images[index : index + 1],
            displacement,
            interpolation=functional.InterpolationMode.BILINEAR,
        )
        torch.testing.assert_close(result[index : index + 1], expected, rtol=0, atol=2e-4)


def test_alpha_has_the_unit_of_torchvision() -> None:
    """Far from the edges, torchvision's Gaussian blur of the same noise gives the displacement.

    torchvision truncates the Gaussian at 4 sigma, which omits 6e-5 of its mass.
    """
    functional = importlib.import_module("torchvision.transforms.v2.functional")
    elastic = RandomElastic(alpha=34, sigma=4)
    size = (90, 100)
    field = elastic.displacement(torch.arange(2), size, seed=1)
    raw = noise(derive(1, _STREAM, 0), torch.arange(2), 2 * 90 * 100).view(2, 2, 90, 100)
    blurred = functional.gaussian_blur(raw, kernel_size=[33, 33], sigma=[4.0, 4.0]) * 34
    inside = (..., slice(25, -25), slice(25, -25))
    torch.testing.assert_close(field[inside], blurred[inside], rtol=0, atol=2e-3)


@pytest.mark.parametrize("size", [(28, 28), (13, 40)])
@pytest.mark.parametrize("sigma", [0.3, 1.0, 4.0, 8.0])
def test_the_smoothing_is_scipys_with_rows_of_equal_norm(
    sigma: float, size: tuple[int, int]
) -> None:
    """The oracle applies SciPy's Gaussian filter to the unit vectors and rescales the rows."""
    height, width = size
    raw = noise(derive(0, _STREAM, 0), torch.arange(3), 2 * height * width)
    expected = raw.double().numpy().reshape(3, 2, height, width)
    for axis, side in ((-1, width), (-2, height)):
        matrix = gaussian_filter1d(np.eye(side), sigma, axis=0, mode="constant", truncate=12.0)
        whole = np.zeros(401)
        whole[200] = 1.0
        norm = np.linalg.norm(gaussian_filter1d(whole, sigma, mode="constant", truncate=12.0))
        matrix *= norm / np.linalg.norm(matrix, axis=1, keepdims=True)
        expected = np.moveaxis(np.moveaxis(expected, axis, -1) @ matrix.T, -1, axis)
    field = RandomElastic(alpha=20, sigma=sigma).displacement(torch.arange(3), size)
    assert field.dtype is torch.float32
    torch.testing.assert_close(field.double(), torch.from_numpy(20 * expected), rtol=0, atol=2e-4)


@pytest.mark.parametrize(("alpha", "sigma"), [(34.0, 4.0), (37.0, 5.5), (8.0, 4.0)])
def test_the_rms_is_that_of_theory_at_every_pixel(alpha: float, sigma: float) -> None:
    """The rms is alpha / sqrt(3) / (2 sqrt(pi) sigma) at edges and center, and the mean is 0.

    Over 4,000 independent images the standard error of the rms is about 1 percent.
    """
    theory = alpha / math.sqrt(3) / (2 * math.sqrt(math.pi) * sigma)
    elastic = RandomElastic(alpha=alpha, sigma=sigma)
    assert elastic.rms == pytest.approx(theory, rel=1e-6)
    field = elastic.displacement(torch.arange(4_000), (28, 28), seed=2)
    rms = field.square().mean(dim=0).sqrt()
    assert rms.mean().item() == pytest.approx(theory, rel=0.01)
    assert (rms / theory - 1).abs().max() < 0.06
    assert field.mean(dim=0).abs().max() < 5 * theory / math.sqrt(4_000)


def test_neighbors_move_together_as_a_gaussian_says() -> None:
    """The correlation is exp(-distance^2 / 4 sigma^2): a convolution of two Gaussians."""
    field = RandomElastic(sigma=2.0).displacement(torch.arange(3_000), (28, 28), seed=5)
    middle = field[..., 14, 14]
    for distance in (1, 2, 4, 8):
        for other in (field[..., 14, 14 + distance], field[..., 14 - distance, 14]):
            correlation = np.corrcoef(middle.flatten(), other.flatten())[0, 1]
            assert correlation == pytest.approx(math.exp(-(distance**2) / 16), abs=0.04)


def test_x_and_y_are_independent() -> None:
    field = RandomElastic().displacement(torch.arange(3_000), (28, 28))
    correlation = np.corrcoef(field[:, 0, 9, 9], field[:, 1, 9, 9])[0, 1]
    assert abs(correlation) < 4.5 / math.sqrt(3_000)


def test_a_field_depends_on_seed_epoch_and_index_alone() -> None:
    """The displacement is bit-identical alone and in a batch."""
    elastic = RandomElastic()
    fields = elastic.displacement(torch.tensor([4, 7, 9]), (28, 28), seed=1, epoch=2)
    alone = elastic.displacement(torch.tensor([7]), (28, 28), seed=1, epoch=2)
    assert torch.equal(alone[0], fields[1])
    for other in ({"seed": 2, "epoch": 2}, {"seed": 1, "epoch": 3}, {"seed": 2, "epoch": 1}):
        assert not torch.equal(elastic.displacement(torch.tensor([7]), (28, 28), **other), alone)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sigma": 0.0}, "sigma must be a finite number greater than 0, got 0.0"),
        ({"alpha": -1.0}, "alpha must be a finite number at least 0, got -1.0"),
        ({"alpha": math.inf}, "alpha must be a finite number at least 0, got inf"),
    ],
)
def test_values_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(RandomElastic(), **arguments)
