"""Random rectangles of images painted over."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mlpkit._checks import check_float, error_message
from mlpkit.data._random import derive, uniforms
from mlpkit.data.augment._augmentation import image_indices, image_planes
from mlpkit.data.augment._random_affine import pair

_STREAM = 0xE7A5


class Rectangles(NamedTuple):
    """What :class:`RandomErasing` drew: one rectangle for each image, int64, shape (n,).

    Attributes:
        top: First row.
        left: First column.
        height: Rows; 0 where nothing is erased.
        width: Columns; 0 where nothing is erased.
    """

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class RandomErasing:
    r"""Paints over a rectangle of some of the images, each by a draw of its own.

    With area fraction :math:`a` drawn uniformly and ratio :math:`r` drawn log-uniformly, the
    rectangle has :math:`\sqrt{a r H W}` rows and :math:`\sqrt{a H W / r}` columns, rounded, at
    least one pixel and at most the image, at a place drawn uniformly among those that fit.

    Args:
        p: Probability that an image gets a rectangle, in [0, 1].
        scale: Lowest and highest fraction of the area, in [0, 1].
        ratio: Lowest and highest ratio of height to width, greater than 0.
        value: What the rectangle is filled with, in the units of the images.

    Shape:
        Images (n, H, W) or (n, channels, H, W), uint8 or floating-point; shape and type are kept.

    Raises:
        TypeError: If an argument is not a number.
        ValueError: If one is out of range.

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
        object.__setattr__(self, "p", check_float("p", self.p, minimum=0.0, maximum=1.0))
        object.__setattr__(self, "scale", pair("scale", self.scale, minimum=0.0, maximum=1.0))
        object.__setattr__(self, "ratio", pair("ratio", self.ratio, above=0.0))
        object.__setattr__(self, "value", check_float("value", self.value))
        for name, bounds in (("scale", self.scale), ("ratio", self.ratio)):
            if bounds[0] > bounds[1]:
                raise ValueError(error_message(name, "(lowest, highest)", bounds))

    def draw(
        self, indices: Tensor, size: tuple[int, int], *, seed: int = 0, epoch: int = 0
    ) -> Rectangles:
        """Return the rectangles of the images at ``indices``, for images of ``size`` (H, W)."""
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

    def __call__(
        self, images: Tensor, *, seed: int = 0, epoch: int = 0, indices: Tensor | None = None
    ) -> Tensor:
        """Return the images, some of them with a rectangle painted over.

        Args:
            images: Shape (n, H, W) or (n, channels, H, W).
            seed: Seed of the run.
            epoch: Epoch, counted from 0.
            indices: Position of each image in its data set; None: 0 .. n - 1.
        """
        planes = image_planes(images)
        if images.dtype is torch.uint8 and self.value not in range(256):
            raise ValueError(
                error_message("value", "a whole gray in [0, 255] for uint8", self.value)
            )
        height, width = planes.shape[-2:]
        positions = image_indices(images, indices)
        drawn = self.draw(positions, (height, width), seed=seed, epoch=epoch)
        rows = _between(drawn.top, drawn.height, height)
        columns = _between(drawn.left, drawn.width, width)
        mask = rows.unsqueeze(2) & columns.unsqueeze(1)
        return planes.masked_fill(mask.unsqueeze(1), self.value).view_as(images)


def _between(first: Tensor, length: Tensor, side: int) -> Tensor:
    """Return which of 0 .. side - 1 lie in [first, first + length), shape (n, side)."""
    positions = torch.arange(side, device=first.device)
    first = first.unsqueeze(1)
    return (positions >= first) & (positions < first + length.unsqueeze(1))
