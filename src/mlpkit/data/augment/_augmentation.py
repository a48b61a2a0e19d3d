"""What an augmentation is, and the checks that all of them share."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from mlpkit._checks import error_message
from mlpkit.data._random import derive, uniforms

_STREAM = 0xD8A5


class Augmentation(Protocol):
    """Changes a batch of images at random, each by a draw of its own.

    Any callable of this form will do; :class:`Batches` calls it once for each batch.
    """

    def __call__(self, images: Tensor, *, seed: int, epoch: int, indices: Tensor) -> Tensor:
        """Return the changed images, in the shape and type of ``images``.

        Args:
            images: Shape (n, ...), one image for each index.
            seed: Seed of the run.
            epoch: Epoch, counted from 0.
            indices: Position of each image in its data set, int64, shape (n,). What happens to an
                image should depend on seed, epoch and its index alone.
        """
        ...


def checked_augmentation(augment: Augmentation | None) -> Augmentation | None:
    """Return what can be called on images; a class would be made instead of called."""
    if augment is not None and (isinstance(augment, type) or not callable(augment)):
        cure = "pass an instance, for instance RandomElastic()"
        raise TypeError(error_message("augment", "an augmentation or None", augment, cure))
    return augment


def uniform_draws(indices: Tensor, count: int, *, seed: int, epoch: int) -> Tensor:
    """Draw numbers for each image as a function of seed, epoch and its index alone.

    For augmentations of one's own: whatever the batch, an image gets the same numbers.

    Args:
        indices: Position of each image in its data set, int64, shape (n,).
        count: Numbers for each image.
        seed: Seed of the run.
        epoch: Epoch, counted from 0.

    Returns:
        Uniform in (0, 1), float64, shape (n, count), on the device of ``indices``.

    Example:
        >>> import torch
        >>> from mlpkit.data import uniform_draws
        >>> together = uniform_draws(torch.tensor([5, 7]), 3, seed=0, epoch=1)
        >>> alone = uniform_draws(torch.tensor([7]), 3, seed=0, epoch=1)
        >>> torch.equal(together[1:], alone)
        True
    """
    return uniforms(derive(seed, _STREAM, epoch), indices, count)


def image_planes(images: Tensor) -> Tensor:
    """Return a view of shape (n, channels, H, W) after a check of type and shape."""
    if not (images.dtype is torch.uint8 or images.is_floating_point()):
        cure = "convert them to uint8 or to floating point"
        rule = "uint8 or floating-point"
        raise TypeError(error_message("images", rule, images.dtype, cure))
    if images.ndim not in (3, 4):
        cure = "give flat images their height and width back by reshape"
        rule = "of shape (n, H, W) or (n, channels, H, W)"
        raise ValueError(error_message("images", rule, tuple(images.shape), cure))
    return images.unsqueeze(1) if images.ndim == 3 else images


def image_indices(images: Tensor, indices: Tensor | None) -> Tensor:
    """Return the positions given, or 0 .. n - 1, on the device of the images."""
    if indices is None:
        return torch.arange(len(images), device=images.device)
    if indices.dtype is not torch.int64:
        raise TypeError(error_message("indices", "an int64 tensor", indices.dtype))
    if indices.shape != images.shape[:1]:
        rule = f"of shape ({len(images)},), one for each image"
        raise ValueError(error_message("indices", rule, tuple(indices.shape)))
    return indices.to(images.device)


def working_dtype(images: Tensor) -> torch.dtype:
    """Return the type to compute in: float64 for float64 images, else float32."""
    return torch.float64 if images.dtype is torch.float64 else torch.float32


def as_dtype(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Return computed images in their first type; uint8 is rounded to the nearest gray."""
    if dtype is torch.uint8:
        return images.round().to(torch.uint8)
    return images.to(dtype)
