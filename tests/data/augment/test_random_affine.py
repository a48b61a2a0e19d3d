"""Random affine maps against torchvision and SciPy, and the distributions of their parameters."""

from __future__ import annotations

import dataclasses
import importlib
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.ndimage import affine_transform

from mlpkit.data import AffineParameters, RandomAffine


def blobs(count: int, side: int = 28) -> torch.Tensor:
    """Return smooth images, float64 in [0, 1], that are dark near the edges."""
    noise = torch.rand(count, 1, side + 8, side + 8, dtype=torch.float64)
    smooth = torch.nn.functional.avg_pool2d(noise, 9, stride=1)
    window = torch.hann_window(side, periodic=False, dtype=torch.float64)
    return smooth[:, 0] * window * window.unsqueeze(1)


def test_torchvision_agrees_image_by_image() -> None:
    """Rotation, shear, one scale factor and translation in float32, within 2e-4 in [0, 1]."""
    functional = importlib.import_module("torchvision.transforms.v2.functional")
    images = blobs(24).float()
    affine = RandomAffine(
        degrees=25, translate=(0.1, 0.2), scale=(0.7, 1.4), shear=20, isotropic=True
    )
    result = affine(images, seed=3, epoch=1)
    drawn = affine.draw(torch.arange(24), seed=3, epoch=1)
    for index in range(24):
        expected = functional.affine(
            images[index : index + 1],
            angle=float(drawn.angle[index]),
            translate=[28 * float(drawn.shift_x[index]), 28 * float(drawn.shift_y[index])],
            scale=float(drawn.scale_x[index]),
            shear=[float(drawn.shear[index]), 0.0],
            interpolation=functional.InterpolationMode.BILINEAR,
        )
        torch.testing.assert_close(result[index : index + 1], expected, rtol=0, atol=2e-4)


def test_scipy_agrees_with_separate_scale_factors() -> None:
    """The oracle is the matrix product of the docstring in float64, within 1e-11."""
    images = torch.randn(16, 21, 34, dtype=torch.float64)
    affine = RandomAffine(degrees=180, translate=(0.3, 0.1), scale=(0.5, 1.5), shear=40)
    result = affine(images, seed=1, epoch=7)
    drawn = affine.draw(torch.arange(16), seed=1, epoch=7)
    for index in range(16):
        angle, shear = (math.radians(drawn[field][index]) for field in (0, 1))
        rotation = np.array(
            [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
        )
        skew = np.array([[1, -math.tan(shear)], [0, 1]])
        scale = np.diag([float(drawn.scale_x[index]), float(drawn.scale_y[index])])
        inverse = np.linalg.inv(rotation @ skew @ scale)[::-1, ::-1]  # SciPy's order is (y, x)
        shift = np.array([21 * float(drawn.shift_y[index]), 34 * float(drawn.shift_x[index])])
        center = np.array([10.0, 16.5])
        expected = affine_transform(
            images[index].numpy(),
            inverse,
            offset=center - inverse @ (center + shift),
            order=1,
            mode="grid-constant",
        )
        torch.testing.assert_close(result[index], torch.from_numpy(expected), rtol=0, atol=1e-11)


def test_a_rotation_by_90_degrees_is_exact() -> None:
    """After rounding to uint8 the result equals `rot90`, which fixes the direction too."""
    images = torch.randint(0, 256, (1, 8, 8), dtype=torch.uint8)

    class Quarter(RandomAffine):
        """Rotates every displayed image clockwise by 90 degrees."""

        def draw(self, indices: torch.Tensor, *, seed: int = 0, epoch: int = 0) -> AffineParameters:
            drawn = RandomAffine.draw(self, indices, seed=seed, epoch=epoch)
            return drawn._replace(angle=torch.full_like(drawn.angle, 90.0))

    assert torch.equal(Quarter()(images), images.rot90(-1, (1, 2)))


@pytest.mark.parametrize(
    ("field", "low", "high"),
    [
        ("angle", -15, 15),
        ("shear", -10, 10),
        ("scale_x", 0.8, 1.3),
        ("scale_y", 0.8, 1.3),
        ("shift_x", -0.1, 0.1),
        ("shift_y", -0.2, 0.2),
    ],
)
def test_each_parameter_is_uniform_in_its_range(field: str, low: float, high: float) -> None:
    affine = RandomAffine(degrees=15, shear=10, scale=(0.8, 1.3), translate=(0.1, 0.2))
    values = getattr(affine.draw(torch.arange(5_000), seed=2), field).numpy()
    assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-4


def test_parameters_are_independent_unless_isotropic() -> None:
    affine = RandomAffine(degrees=15, shear=10, scale=(0.8, 1.3), translate=(0.1, 0.2))
    drawn = np.stack(affine.draw(torch.arange(10_000)))
    assert np.abs(np.corrcoef(drawn) - np.eye(6)).max() < 4.5 / 100
    same = dataclasses.replace(affine, isotropic=True).draw(torch.arange(10))
    assert torch.equal(same.scale_x, same.scale_y)


def test_a_draw_depends_on_seed_epoch_and_index_alone() -> None:
    affine = RandomAffine(degrees=15)
    angle = affine.draw(torch.tensor([3, 8]), seed=1, epoch=2).angle
    assert torch.equal(affine.draw(torch.tensor([8]), seed=1, epoch=2).angle, angle[1:])
    for other in ({"seed": 2, "epoch": 2}, {"seed": 1, "epoch": 3}, {"seed": 2, "epoch": 1}):
        assert not torch.equal(affine.draw(torch.tensor([3, 8]), **other).angle, angle)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"degrees": -1.0}, "degrees must be a finite number at least 0 and at most 180, got -1.0"),
        ({"degrees": 181.0}, "degrees must be .*, got 181.0"),
        ({"shear": 90.0}, "shear must be a finite number at least 0 and less than 90, got 90.0"),
        ({"scale": (0.0, 1.0)}, r"scale\[0\] must be a finite number greater than 0, got 0.0"),
        ({"scale": (1.2, 1.1)}, r"scale must be \(lowest, highest\), got \(1.2, 1.1\)"),
        ({"translate": (0.0, 1.5)}, r"translate\[1\] must be .* at most 1, got 1.5"),
        ({"degrees": float("nan")}, "degrees must be a finite number .*, got nan"),
    ],
)
def test_values_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(RandomAffine(), **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 1.1}, "scale must be a pair of numbers, got 1.1"),
        ({"translate": (1, 0, 0)}, r"translate must be a pair of numbers, got \(1, 0, 0\)"),
        ({"degrees": "15"}, "degrees must be a finite number .*, got '15'"),
        ({"isotropic": 1}, "isotropic must be True or False, got 1"),
    ],
)
def test_wrong_types_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        dataclasses.replace(RandomAffine(), **arguments)


def test_settings_are_frozen_and_normalized() -> None:
    affine = RandomAffine(degrees=15, scale=(1, 2))
    assert affine == RandomAffine(degrees=15.0, scale=(1.0, 2.0))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(affine, "degrees", 3.0)  # noqa: B010 - the attribute is read-only to mypy too
