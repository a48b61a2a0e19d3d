"""Code that all augmentations share: `uniform_draws` and the checks of images and indices."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import kstest

from mlpkit.data import Compose, RandomAffine, RandomElastic, RandomErasing, uniform_draws


def test_uniform_draws_depend_on_seed_epoch_and_index_alone() -> None:
    """Draws are uniform, equal alone and in a batch, and change with epoch and seed."""
    indices = torch.arange(5_000)
    drawn = uniform_draws(indices, 2, seed=3, epoch=1)
    assert kstest(drawn.flatten().numpy(), "uniform").pvalue > 1e-4
    assert torch.equal(uniform_draws(indices[70:71], 2, seed=3, epoch=1), drawn[70:71])
    assert not torch.equal(uniform_draws(indices, 2, seed=3, epoch=2), drawn)
    assert not torch.equal(uniform_draws(indices, 2, seed=4, epoch=1), drawn)


def test_images_that_cannot_be_augmented() -> None:
    affine = RandomAffine()
    with pytest.raises(ValueError, match=r"images must be of shape .* got \(5, 784\); reshape"):
        affine(torch.zeros(5, 784))
    with pytest.raises(ValueError, match=r"images must be of shape \(n, \.\.\.\), got \(\)"):
        affine(torch.tensor(1.0))
    with pytest.raises(TypeError, match=r"images must be uint8 or floating-point, got torch.int64"):
        affine(torch.zeros(1, 2, 2).long())
    with pytest.raises(ValueError, match=r"indices must be of shape \(3,\).* got \(2,\)"):
        affine(torch.zeros(3, 2, 2), indices=torch.arange(2))
    with pytest.raises(TypeError, match=r"indices must be an int64 tensor, got torch.int32"):
        affine(torch.zeros(3, 2, 2), indices=torch.arange(3, dtype=torch.int32))


@pytest.mark.parametrize(
    "augment",
    [RandomAffine(degrees=9), RandomElastic(), RandomErasing(p=1), Compose([RandomErasing(p=1)])],
)
def test_every_augmentation_takes_indices_in_the_same_way(
    augment: RandomAffine | RandomElastic | RandomErasing | Compose,
) -> None:
    """Missing indices are 0 .. n - 1; given ones select the draws; wrong ones are refused."""
    images = torch.rand(4, 9, 9)
    result = augment(images, seed=1, epoch=2)
    assert torch.equal(augment(images, seed=1, epoch=2, indices=torch.arange(4)), result)
    assert torch.equal(
        augment(images[2:], seed=1, epoch=2, indices=torch.tensor([2, 3])), result[2:]
    )
    with pytest.raises(ValueError, match=r"indices must be of shape \(4,\).* got \(3,\)"):
        augment(images, indices=torch.arange(3))
