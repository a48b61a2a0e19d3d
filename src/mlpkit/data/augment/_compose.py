"""Several augmentations, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from mlpkit._checks import error_message
from mlpkit.data._random import derive
from mlpkit.data.augment._augmentation import Augmentation, as_dtype, image_indices, working_dtype
from mlpkit.data.augment._random_affine import RandomAffine
from mlpkit.data.augment._random_elastic import RandomElastic
from mlpkit.data.augment._warp import Warp, warp

_STREAM = 0xC03B


@dataclass(frozen=True, slots=True)
class Compose:
    """Applies augmentations in their order, each with draws of its own.

    A :class:`RandomAffine` that stands before another one or before a :class:`RandomElastic` is
    merged with it: their displacements are composed and the image is interpolated once, which is
    faster and keeps strokes sharper than twice. So put a ``RandomElastic`` last. Where several
    steps remain, the images are floating-point between them and are rounded at the end only.

    Args:
        transforms: The augmentations; any callable of the form of :class:`Augmentation` will do.

    Shape:
        Images (n, H, W) or (n, channels, H, W); shape and type are kept.

    Raises:
        TypeError: If a transform cannot be called.

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
        transforms: object = self.transforms
        if not isinstance(transforms, Sequence):
            raise TypeError(error_message("transforms", "a sequence of augmentations", transforms))
        listed = tuple(transforms)
        for transform in listed:
            if isinstance(transform, type) or not callable(transform):
                cure = "pass instances, for instance RandomElastic()"
                raise TypeError(error_message("transforms", "augmentations", transform, cure))
        object.__setattr__(self, "transforms", listed)

    def __call__(
        self, images: Tensor, *, seed: int = 0, epoch: int = 0, indices: Tensor | None = None
    ) -> Tensor:
        """Return the images after all augmentations.

        Args:
            images: Shape (n, H, W) or (n, channels, H, W).
            seed: Seed of the run.
            epoch: Epoch, counted from 0.
            indices: Position of each image in its data set; None: 0 .. n - 1.
        """
        steps = self._steps(seed, epoch, image_indices(images, indices))
        current = images.to(working_dtype(images)) if len(steps) > 1 else images
        for step in steps:
            current = step(current)
        return current if current.dtype is images.dtype else as_dtype(current, images.dtype)

    def _steps(self, seed: int, epoch: int, indices: Tensor) -> list[Callable[[Tensor], Tensor]]:
        """Return what to do one after the other; neighbors that can be merged are one step."""
        steps: list[Callable[[Tensor], Tensor]] = []
        merged: list[tuple[Warp, int]] | None = None
        for position, transform in enumerate(self.transforms):
            own_seed = derive(seed, _STREAM, position)
            if not isinstance(transform, RandomAffine | RandomElastic):
                steps.append(partial(transform, seed=own_seed, epoch=epoch, indices=indices))
                merged = None
                continue
            if merged is None:
                merged = []
                steps.append(partial(warp, warps=merged, epoch=epoch, indices=indices))
            merged.append((transform, own_seed))
            if isinstance(transform, RandomElastic):
                merged = None  # only the last of those merged is read at the pixels themselves
        return steps
