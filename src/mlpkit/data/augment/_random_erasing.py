"""Random erasing: a random rectangle of an image is filled with a constant."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from mlpkit._checks import Check, check_float, error_message, store_checked
from mlpkit.data._random import derive, uniforms
from mlpkit.data.augment._augmentation import ImageAugmentation, image_planes
from mlpkit.data.augment._random_affine import check_pair

_STREAM = 0xE7A5


class Rectangles(NamedTuple):
    """Rectangles drawn by :class:`RandomErasing`; each field is int64 of shape (n,), one per image.

    Attributes:
        top: Index of the first row.
        left: Index of the first column.
        height: Number of rows; 0 if nothing is erased.
        width: Number of columns; 0 if nothing is erased.
    """

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class RandomErasing(ImageAugmentation):
    r"""Fill a random rectangle of each image with a constant, with probability ``p``.

    With area fraction :math:`a` drawn uniformly and ratio :math:`r` drawn log-uniformly, the
    rectangle has :math:`\sqrt{a r H W}` rows and :math:`\sqrt{a H W / r}` columns, rounded and
    clamped to the range from 1 to the size of the image. Its position is drawn uniformly among
    those at which it fits into the image.

    Args:
        p: Probability that a rectangle of an image is erased, in [0, 1].
        scale: Lowest and highest area of the rectangle, as a fraction of the image area, in [0, 1].
        ratio: Lowest and highest ratio of height to width, greater than 0.
        value: Value that fills the rectangle, in the units of the images. For uint8 images it must
            be an integer in [0, 255].

    Shape:
        Images (n, H, W) or (n, channels, H, W), uint8 or floating-point. Shape and dtype are
        preserved.

    Raises:
        TypeError: If an argument is not a number.
        ValueError: If an argument is out of range.

    Example:
        >>> import torch
        >>> from mlpkit.data import RandomErasing
        >>> images = torch.full((100, 28, 28), 255, dtype=torch.uint8)
        >>> erased = RandomErasing(p=1.0, scale=(0.1, 0.1))(images, seed=0, epoch=0)
        >>> round((erased == 0).double().mean().item(), 1)
        0.1

    References:
        Zhong, Zheng, Kang, Li and Yang (2020), *Random erasing data augmentation*, algorithm 1.
    """

    p: float = 0.5
    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)
    value: float = 0.0

    def __post_init__(self) -> None:
        checks: dict[str, Check[object]] = {
            "p": partial(check_float, minimum=0.0, maximum=1.0),
            "scale": partial(check_pair, minimum=0.0, maximum=1.0, is_range=True),
            "ratio": partial(check_pair, above=0.0, is_range=True),
            "value": check_float,
        }
        store_checked(self, checks)

    def draw(
        self, indices: Tensor, size: tuple[int, int], *, seed: int = 0, epoch: int = 0
    ) -> Rectangles:
        """Return the rectangles drawn for the images at ``indices``.

        Args:
            indices: Position of each image in its data set, int64, shape (n,).
            size: Height and width of the images in pixels.
            seed: Seed of the run.
            epoch: Epoch, counted from 0.
        """
        height, width = size
        unit = uniforms(derive(seed, _STREAM, epoch), indices, 5).unbind(dim=1)
        low, high = self.scale
        area = (low + (high - low) * unit[1]) * (height * width)
        log_low, log_high = (math.log(bound) for bound in self.ratio)
        ratio = torch.exp(log_low + (log_high - log_low) * unit[2])
        rows = torch.sqrt(area * ratio).round().clamp(1, height)
        columns = torch.sqrt(area / ratio).round().clamp(1, width)
        chosen = (unit[0] < self.p).long()
        return Rectangles(
            top=(unit[3] * (height + 1 - rows)).long(),
            left=(unit[4] * (width + 1 - columns)).long(),
            height=rows.long() * chosen,
            width=columns.long() * chosen,
        )

    def _augment(self, images: Tensor, *, seed: int, epoch: int, indices: Tensor) -> Tensor:
        planes = image_planes(images)
        if images.dtype is torch.uint8 and self.value not in range(256):
            rule = "an integer in [0, 255] for uint8 images"
            raise ValueError(error_message("value", rule, self.value))
        height, width = planes.shape[-2:]
        drawn = self.draw(indices, (height, width), seed=seed, epoch=epoch)
        rows = _in_range(drawn.top, drawn.height, height)
        columns = _in_range(drawn.left, drawn.width, width)
        mask = rows.unsqueeze(2) & columns.unsqueeze(1)
        return planes.masked_fill(mask.unsqueeze(1), self.value).view_as(images)


def _in_range(first: Tensor, length: Tensor, side: int) -> Tensor:
    """Return a mask of the positions in [first, first + length), bool, shape (n, side)."""
    positions = torch.arange(side, device=first.device)
    first = first.unsqueeze(1)
    return (positions >= first) & (positions < first + length.unsqueeze(1))
