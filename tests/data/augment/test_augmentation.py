"""What all augmentations share: draws of one's own, and the checks of images and indices."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import kstest

from mlpkit.data import RandomAffine, uniform_draws


def test_draws_of_ones_own_depend_on_seed_epoch_and_index_alone() -> None:
    """Uniform over images, the same alone as in a batch, others in another epoch or seed."""
    indices = torch.arange(5_000)
    drawn = uniform_draws(indices, 2, seed=3, epoch=1)
    assert kstest(drawn.flatten().numpy(), "uniform").pvalue > 1e-4
    assert torch.equal(uniform_draws(indices[70:71], 2, seed=3, epoch=1), drawn[70:71])
    assert not torch.equal(uniform_draws(indices, 2, seed=3, epoch=2), drawn)
    assert not torch.equal(uniform_draws(indices, 2, seed=4, epoch=1), drawn)


def test_images_that_cannot_be_augmented() -> None:
    affine = RandomAffine()
    with pytest.raises(ValueError, match=r"images must be of shape .* got \(5, 784\); give flat"):
        affine(torch.zeros(5, 784))
    with pytest.raises(TypeError, match=r"images must be uint8 or floating-point, got torch.int64"):
        affine(torch.zeros(1, 2, 2).long())
    with pytest.raises(ValueError, match=r"indices must be of shape \(3,\).* got \(2,\)"):
        affine(torch.zeros(3, 2, 2), indices=torch.arange(2))
    with pytest.raises(TypeError, match=r"indices must be an int64 tensor, got torch.int32"):
        affine(torch.zeros(3, 2, 2), indices=torch.arange(3, dtype=torch.int32))
