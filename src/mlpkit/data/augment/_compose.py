"""A sequence of augmentations that merges neighboring coordinate maps into one interpolation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from mlpkit._checks import check_tuple, store_checked
from mlpkit.data._random import derive
from mlpkit.data.augment._augmentation import (
    Augmentation,
    ImageAugmentation,
    as_dtype,
    check_augmentation,
    check_image_dtype,
    working_dtype,
)
from mlpkit.data.augment._random_affine import RandomAffine
from mlpkit.data.augment._random_elastic import RandomElastic
from mlpkit.data.augment._warp import Warp, warp

_STREAM = 0xC03B


@dataclass(frozen=True, slots=True)
class Compose(ImageAugmentation):
    """Apply several augmentations in order, each with independent random draws.

    A :class:`RandomAffine` directly before another :class:`RandomAffine` or before a
    :class:`RandomElastic` is merged with it: the coordinate maps are composed and the image is
    interpolated once. This is faster and blurs the image less than interpolating twice, so place
    a ``RandomElastic`` last. If several steps remain, intermediate images are floating-point, and
    uint8 images are rounded only at the end.

    Args:
        transforms: The augmentations; any callable with the signature of :class:`Augmentation`.

    Shape:
        Images (n, H, W) or (n, channels, H, W). Shape and dtype are preserved.

    Raises:
        TypeError: If ``transforms`` is not a sequence of callable instances; when called, if the
            images of several steps are neither uint8 nor floating-point.

    Example:
        >>> import torch
        >>> from mlpkit.data import Compose, RandomAffine, RandomElastic
        >>> images = torch.randint(0, 256, (4, 28, 28), dtype=torch.uint8)
        >>> distort = Compose([RandomAffine(degrees=15), RandomElastic(alpha=34, sigma=4)])
        >>> distort(images, seed=0, epoch=0).dtype
        torch.uint8
    """

    transforms: Sequence[Augmentation]

    def __post_init__(self) -> None:
        check = partial(check_tuple, check=check_augmentation, rule="a sequence of augmentations")
        store_checked(self, {"transforms": check})

    def _augment(self, images: Tensor, *, seed: int, epoch: int, indices: Tensor) -> Tensor:
        steps = self._steps(seed, epoch, indices)
        current = images
        if len(steps) > 1:
            check_image_dtype(images)  # integers would be cut off at the end
            current = images.to(working_dtype(images))
        for step in steps:
            current = step(current)
        return current if current.dtype is images.dtype else as_dtype(current, images.dtype)

    def _steps(self, seed: int, epoch: int, indices: Tensor) -> list[Callable[[Tensor], Tensor]]:
        """Return the functions to apply in order; mergeable neighbors share one function."""
        steps: list[Callable[[Tensor], Tensor]] = []
        merged: list[tuple[Warp, int]] | None = None
        for position, transform in enumerate(self.transforms):
            step_seed = derive(seed, _STREAM, position)
            if not isinstance(transform, RandomAffine | RandomElastic):
                steps.append(partial(transform, seed=step_seed, epoch=epoch, indices=indices))
                merged = None
                continue
            if merged is None:
                merged = []
                steps.append(partial(warp, warps=merged, epoch=epoch, indices=indices))
            merged.append((transform, step_seed))
            if isinstance(transform, RandomElastic):
                merged = None  # an elastic field is defined on the pixel grid only: it comes last
        return steps
