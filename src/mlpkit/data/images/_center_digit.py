"""Anybody's picture of a digit, brought into the form of MNIST's."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from mlpkit.data.images._gray import Grays, gray_plane
from mlpkit.data.images._ink import find_ink

if TYPE_CHECKING:
    from PIL.Image import Image

_SIDE = 28
_BOX = 20
_MIDDLE = 14  # the pixel that holds MNIST's centers of mass: 14.0 +- 0.3 in both axes
_WORKING_SIDE = 256


def center_digit(
    image: Tensor | npt.NDArray[np.generic] | Image | str | os.PathLike[str],
) -> Tensor:
    """Bring a photograph, scan or drawing of one digit into the form of the MNIST images.

    As the makers of MNIST did: the ink is scaled to fit a box of 20 x 20 pixels, keeping its
    proportions and its gray edges, and laid into 28 x 28 pixels so that its center of mass falls on
    pixel (14, 14); ink is light, paper 0. Before that the paper is found as a smooth surface, so
    that light may fall unevenly; dark ink on light paper is inverted; noise and specks are left
    out; a large picture is searched for its digit first.

    Args:
        image: A path; a Pillow image; an array of shape (H, W) or (H, W, channels); a tensor of
            shape (H, W) or (channels, H, W). Gray or color, with or without an alpha channel, any
            size. Nothing but the digit should stand out from the paper, and some paper should be
            left around it.

    Returns:
        uint8 of shape (28, 28), on the CPU.

    Raises:
        DataError: If nothing stands out from the paper, or a file is no picture.
        TypeError: If ``image`` is of another type.
        ValueError: If its shape is another one.

    Example:
        >>> import torch
        >>> from mlpkit.data import center_digit
        >>> canvas = torch.full((200, 300), 255, dtype=torch.uint8)
        >>> canvas[40:160, 200:212] = 0  # a "1", drawn in black on the right
        >>> digit = center_digit(canvas)
        >>> digit.shape, digit.nonzero().amin(0).tolist(), digit.nonzero().amax(0).tolist()
        (torch.Size([28, 28]), [4, 13], [23, 14])

    References:
        LeCun, Cortes and Burges, *The MNIST database of handwritten digits*: size normalization
        and centering by the center of mass.
    """
    amount = _cropped_ink(gray_plane(image))
    height, width = amount.shape
    scale = _BOX / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    ink = torch.from_numpy(amount)
    if ink.shape != size:
        ink = _resized(ink, size)
    ink = ink / ink.max()
    top, left = (_offset(ink.sum(dim=axis), side) for axis, side in ((1, size[0]), (0, size[1])))
    digit = torch.zeros(_SIDE, _SIDE, dtype=torch.uint8)
    digit[top : top + size[0], left : left + size[1]] = (255.0 * ink).round().to(torch.uint8)
    return digit


def _cropped_ink(grays: Grays) -> Grays:
    """Return the amount of ink in the box around the digit, found coarsely and then finely."""
    if max(grays.shape) > _WORKING_SIDE:
        top, bottom, left, right = find_ink(_shrunk(grays)).box
        ratio = max(grays.shape) / _WORKING_SIDE
        margin = max(bottom - top, right - left) // 3 + 2
        rows = slice(math.floor(max(0, top - margin) * ratio), math.ceil((bottom + margin) * ratio))
        columns = slice(
            math.floor(max(0, left - margin) * ratio), math.ceil((right + margin) * ratio)
        )
        grays = _shrunk(grays[rows, columns])
    ink = find_ink(grays)
    top, bottom, left, right = ink.box
    return ink.amount[top:bottom, left:right]


def _shrunk(grays: Grays) -> Grays:
    """Return the picture with its longer side at most the working side."""
    ratio = _WORKING_SIDE / max(grays.shape)
    if ratio >= 1.0:
        return grays
    height, width = (max(1, round(side * ratio)) for side in grays.shape)
    return _resized(torch.from_numpy(np.ascontiguousarray(grays)), (height, width)).numpy()


def _resized(plane: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(plane[None, None], size=size, mode="bilinear", antialias=True)[0, 0]


def _offset(mass: Tensor, side: int) -> int:
    """Return where a box must begin for its center of mass to fall on the middle pixel."""
    center = float((mass * torch.arange(side, dtype=mass.dtype)).sum() / mass.sum())
    return min(max(0, math.ceil(_MIDDLE - center - 0.5 - 1e-6)), _SIDE - side)
