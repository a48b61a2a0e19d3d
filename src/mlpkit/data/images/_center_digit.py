"""Conversion of a photograph, scan or drawing of a digit to the format of the MNIST images."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from mlpkit.data.images._gray import GrayPlane, gray_plane
from mlpkit.data.images._ink import check_no_lines, find_ink

if TYPE_CHECKING:
    from PIL.Image import Image

_SIDE = 28
_BOX = 20
_CENTER = 14  # the pixel of MNIST's centers of mass: 14.0 +- 0.3 along both axes
_WORKING_SIDE = 256


def center_digit(
    image: Tensor | npt.NDArray[np.generic] | Image | str | os.PathLike[str],
) -> Tensor:
    """Convert a photograph, scan or drawing of one digit to the format of the MNIST images.

    The steps follow the makers of MNIST: the ink is scaled to fit a box of 20 x 20 pixels, with its
    aspect ratio and gray edges preserved, and is placed in a field of 28 x 28 pixels so that its
    center of mass falls on pixel (14, 14). Ink is light and paper is 0. Beforehand, the paper is
    estimated as a smooth surface, which corrects uneven lighting; dark ink on light paper is
    inverted; noise and specks are removed. In a large image the digit is first located at a lower
    resolution.

    Args:
        image: A path, a Pillow image, an array of shape (H, W) or (H, W, channels), or a tensor of
            shape (H, W) or (channels, H, W). It may be gray or color, with or without an alpha
            channel, and of any size. Only the digit should stand out from the paper. Some paper
            around it helps to tell ink from paper.

    Returns:
        The digit, uint8 of shape (28, 28), on the CPU.

    Raises:
        DataError: If nothing stands out from the paper, if there is a frame or a line across the
            picture, or if a file cannot be read as an image.
        TypeError: If ``image`` has an unsupported type.
        ValueError: If ``image`` has an unsupported shape or holds a value that is not finite.

    Example:
        >>> import torch
        >>> from mlpkit.data import center_digit
        >>> canvas = torch.full((200, 300), 255, dtype=torch.uint8)
        >>> canvas[40:160, 200:212] = 0  # a black "1" on the right
        >>> digit = center_digit(canvas)
        >>> digit.shape, digit.nonzero().amin(0).tolist(), digit.nonzero().amax(0).tolist()
        (torch.Size([28, 28]), [4, 13], [23, 14])

    References:
        LeCun, Cortes and Burges, *The MNIST database of handwritten digits*: size normalization
        and centering by center of mass.
    """
    amount = _crop_ink(gray_plane(image))
    height, width = amount.shape
    scale = _BOX / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    ink = torch.from_numpy(amount)
    if ink.shape != size:
        ink = _resize(ink, size)
    ink = ink / ink.max()
    top, left = (_offset(ink.sum(dim=axis), side) for axis, side in ((1, size[0]), (0, size[1])))
    digit = torch.zeros(_SIDE, _SIDE, dtype=torch.uint8)
    digit[top : top + size[0], left : left + size[1]] = (255.0 * ink).round().to(torch.uint8)
    return digit


def _crop_ink(grays: GrayPlane) -> GrayPlane:
    """Return the ink within the bounding box of the digit, located at low resolution first."""
    ink = find_ink(_shrink(grays))
    check_no_lines(ink)
    if max(grays.shape) > _WORKING_SIDE:
        top, bottom, left, right = ink.box
        ratio = max(grays.shape) / _WORKING_SIDE
        margin = max(bottom - top, right - left) // 3 + 2
        rows = slice(math.floor(max(0, top - margin) * ratio), math.ceil((bottom + margin) * ratio))
        columns = slice(
            math.floor(max(0, left - margin) * ratio), math.ceil((right + margin) * ratio)
        )
        ink = find_ink(_shrink(grays[rows, columns]))
    top, bottom, left, right = ink.box
    return ink.amount[top:bottom, left:right]


def _shrink(grays: GrayPlane) -> GrayPlane:
    """Return the image scaled down so that its longer side is at most ``_WORKING_SIDE``."""
    ratio = _WORKING_SIDE / max(grays.shape)
    if ratio >= 1.0:
        return grays
    height, width = (max(1, round(side * ratio)) for side in grays.shape)
    return _resize(torch.from_numpy(np.ascontiguousarray(grays)), (height, width)).numpy()


def _resize(plane: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(plane[None, None], size=size, mode="bilinear", antialias=True)[0, 0]


def _offset(mass: Tensor, side: int) -> int:
    """Return the first row or column of a box whose center of mass falls on ``_CENTER``."""
    center = float((mass * torch.arange(side, dtype=mass.dtype)).sum() / mass.sum())
    return min(max(0, math.ceil(_CENTER - center - 0.5 - 1e-6)), _SIDE - side)
