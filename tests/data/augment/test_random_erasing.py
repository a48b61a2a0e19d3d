"""Random erasing against a loop, and the distribution of the rectangles."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from mlpkit.data import RandomErasing


@pytest.mark.parametrize("shape", [(30, 28, 28), (30, 3, 11, 20)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
def test_a_loop_over_rectangles_agrees(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    images = torch.randint(0, 256, shape).to(dtype)
    erasing = RandomErasing(p=0.7, scale=(0.02, 0.5), value=9)
    before = images.clone()
    result = erasing(images, seed=3, epoch=4)
    assert torch.equal(images, before)
    assert result.dtype is dtype
    drawn = erasing.draw(torch.arange(30), (shape[-2], shape[-1]), seed=3, epoch=4)
    for image, top, left, height, width in zip(before, *drawn, strict=True):
        image[..., top : top + height, left : left + width] = 9
    assert torch.equal(result, before)


def test_the_rectangles_are_as_the_equations_say() -> None:
    """Probability p, uniform area, log-uniform ratio, uniform position, within the image."""
    erasing = RandomErasing(p=0.3, scale=(0.05, 0.2), ratio=(0.5, 2.0))
    drawn = erasing.draw(torch.arange(20_000), (1_000, 1_000), seed=1)
    chosen = drawn.height > 0
    assert stats.binomtest(int(chosen.sum()), 20_000, 0.3).pvalue > 1e-4
    height, width = drawn.height[chosen].numpy(), drawn.width[chosen].numpy()
    assert stats.kstest(height * width / 1e6, stats.uniform(0.05, 0.15).cdf).pvalue > 1e-4
    ratio = np.log2(height / width)
    assert stats.kstest(ratio, stats.uniform(-1, 2).cdf).pvalue > 1e-4
    place = drawn.top[chosen].numpy() / (1_001 - height)
    assert stats.kstest(place, stats.uniform(0, 1).cdf).pvalue > 1e-4
    assert (drawn.top + drawn.height).max() <= 1_000
    assert (drawn.left + drawn.width).max() <= 1_000


def test_p_of_0_and_1() -> None:
    images = torch.ones(50, 8, 8)
    assert torch.equal(RandomErasing(p=0)(images), images)
    assert (RandomErasing(p=1)(images).flatten(1).amin(dim=1) == 0).all()


def test_the_largest_rectangle_is_the_image() -> None:
    """A square image is erased completely; in a 5 x 9 image the square is clamped to 5 x 7."""
    everything = RandomErasing(p=1, scale=(1, 1), ratio=(1, 1))
    assert not everything(torch.ones(3, 6, 6)).any()
    assert (everything(torch.ones(3, 5, 9)) == 0).flatten(1).sum(dim=1).tolist() == [35] * 3


def test_a_value_that_uint8_cannot_represent_is_refused() -> None:
    images = torch.zeros(1, 4, 4, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"value must be an integer in \[0, 255\].*, got 0.5"):
        RandomErasing(value=0.5)(images)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"p": 1.1}, "p must be a finite number at least 0 and at most 1, got 1.1"),
        ({"scale": (0.3, 0.2)}, r"scale must be \(lowest, highest\), got \(0.3, 0.2\)"),
        ({"ratio": (0.0, 1.0)}, r"ratio\[0\] must be a finite number greater than 0, got 0.0"),
        ({"ratio": (2.0, 1.0)}, r"ratio must be \(lowest, highest\), got \(2.0, 1.0\)"),
    ],
)
def test_values_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(RandomErasing(), **arguments)
