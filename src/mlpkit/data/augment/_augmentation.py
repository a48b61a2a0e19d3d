"""The augmentation protocol, the base class of the built-in augmentations, and shared checks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

import torch
from torch import Tensor

from mlpkit._checks import error_message
from mlpkit.data._random import derive, uniforms

_STREAM = 0xD8A5


class Augmentation(Protocol):
    """A callable that changes each image of a batch at random.

    Any callable with this signature works. :class:`Batches` calls it once per batch.
    """

    def __call__(self, images: Tensor, *, seed: int, epoch: int, indices: Tensor) -> Tensor:
        """Return the augmented images, with the shape and dtype of ``images``.

        Args:
            images: Images, one for each index, shape (n, ...).
            seed: Seed of the run.
            epoch: Epoch, counted from 0.
            indices: Position of each image in its data set, int64, shape (n,). The result for an
                image should depend only on ``seed``, ``epoch`` and its index.
        """
        ...


class ImageAugmentation(ABC):
    """Base class of the built-in augmentations: checks the indices, then calls ``_augment``."""

    __slots__ = ()

    def __call__(
        self, images: Tensor, *, seed: int = 0, epoch: int = 0, indices: Tensor | None = None
    ) -> Tensor:
        """Return the augmented images, with the shape and dtype of ``images``.

        Args:
            images: Images, shape (n, H, W) or (n, channels, H, W).
            seed: Seed of the run.
            epoch: Epoch, counted from 0.
            indices: Position of each image in its data set, int64, shape (n,). None means
                0 .. n - 1.

        Raises:
            TypeError: If ``images`` or ``indices`` have an unsupported dtype.
            ValueError: If ``images`` or ``indices`` have an unsupported shape.
        """
        positions = image_indices(images, indices)
        return self._augment(images, seed=seed, epoch=epoch, indices=positions)

    @abstractmethod
    def _augment(self, images: Tensor, *, seed: int, epoch: int, indices: Tensor) -> Tensor:
        """Return the augmented images; ``indices`` is checked and on the device of ``images``."""


def check_augmentation(
    argument: str, value: object, *, rule: str = "an augmentation"
) -> Augmentation:
    """Return ``value`` if it is a callable instance; a class is refused."""
    if isinstance(value, type) or not callable(value):
        cure = "pass an instance, for example RandomElastic()"
        raise TypeError(error_message(argument, rule, value, cure))
    return value


def uniform_draws(indices: Tensor, count: int, *, seed: int, epoch: int) -> Tensor:
    """Return uniform random numbers for each image, as a function of seed, epoch and index.

    Use it in a custom :class:`Augmentation`: an image gets the same numbers in every batch.

    Args:
        indices: Position of each image in its data set, int64, shape (n,).
        count: Number of draws for each image.
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


def check_image_dtype(images: Tensor) -> None:
    """Raise TypeError unless images are uint8 or floating-point."""
    if not (images.dtype is torch.uint8 or images.is_floating_point()):
        cure = "convert them to uint8 or to a floating-point dtype"
        rule = "uint8 or floating-point"
        raise TypeError(error_message("images", rule, images.dtype, cure))


def image_planes(images: Tensor) -> Tensor:
    """Check dtype and shape, and return a view of shape (n, channels, H, W)."""
    check_image_dtype(images)
    if images.ndim not in (3, 4):
        cure = "reshape flat images to (n, H, W)"
        rule = "of shape (n, H, W) or (n, channels, H, W)"
        raise ValueError(error_message("images", rule, tuple(images.shape), cure))
    return images.unsqueeze(1) if images.ndim == 3 else images


def image_indices(images: Tensor, indices: Tensor | None) -> Tensor:
    """Return ``indices``, or 0 .. n - 1 for None, as int64 on the device of the images."""
    if images.ndim == 0:
        raise ValueError(error_message("images", "of shape (n, ...)", tuple(images.shape)))
    if indices is None:
        return torch.arange(len(images), device=images.device)
    if indices.dtype is not torch.int64:
        raise TypeError(error_message("indices", "an int64 tensor", indices.dtype))
    if indices.shape != images.shape[:1]:
        rule = f"of shape ({len(images)},), one for each image"
        raise ValueError(error_message("indices", rule, tuple(indices.shape)))
    return indices.to(images.device)


def working_dtype(images: Tensor) -> torch.dtype:
    """Return the dtype of the computation: float64 for float64 images, float32 otherwise."""
    return torch.float64 if images.dtype is torch.float64 else torch.float32


def as_dtype(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert computed images back to ``dtype``; values are rounded for uint8."""
    if dtype is torch.uint8:
        return images.round().to(torch.uint8)
    return images.to(dtype)
