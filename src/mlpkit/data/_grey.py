"""Any picture as one plane of greys: files, Pillow images, arrays and tensors."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mlpkit._checks import sentence
from mlpkit.data._pictures import is_picture, read_picture

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's mode L

Greys = npt.NDArray[np.float64]


def grey_plane(image: object) -> Greys:
    """Return the greys of a picture, float64 of shape (H, W), in the units that it came in.

    Transparent strokes are laid over white, or over black if they are light themselves.
    """
    if isinstance(image, str | os.PathLike):
        image = read_picture(image)
    if is_picture(image):
        if image.mode == "La":  # Pillow knows no way from there to RGBA but by LA
            image = image.convert("LA")
        if image.mode in ("P", "PA", "LA", "RGBa"):
            image = image.convert("RGBA")
        elif image.mode in ("CMYK", "YCbCr", "LAB", "HSV", "RGBX"):
            image = image.convert("RGB")
        array = np.asarray(image)
    elif isinstance(image, Tensor):
        planes = image.detach().cpu()
        if planes.dtype == torch.bfloat16:  # NumPy has no such type
            planes = planes.float()
        array = (planes.movedim(0, -1) if planes.ndim == 3 else planes).numpy()
    elif isinstance(image, np.ndarray):
        array = image
    else:
        rule = "a path, a Pillow image, an array or a tensor"
        raise TypeError(sentence("image", rule, type(image)))
    return _without_channels(array)


def _without_channels(array: npt.NDArray[np.generic]) -> Greys:
    """Return one plane from (H, W) or (H, W, channels)."""
    if array.dtype.kind not in "buif":
        raise TypeError(sentence("image", "of real numbers", array.dtype))
    white = 2.0 ** (8 * array.itemsize) - 1.0 if array.dtype.kind == "u" else 1.0
    greys = array.astype(np.float64)
    if greys.ndim not in (2, 3) or greys.size == 0 or (greys.ndim == 3 and _odd(greys.shape[2])):
        rule = "of shape (H, W), with 1 to 4 channels last in an array and first in a tensor"
        raise ValueError(sentence("image", rule, array.shape))
    if not np.isfinite(greys).all():
        raise ValueError(sentence("image", "finite in every pixel", "NaN or infinity"))
    if greys.ndim == 2:
        return greys
    has_alpha = greys.shape[2] in (2, 4)
    colors = greys[:, :, :-1] if has_alpha else greys
    plane: Greys = colors[:, :, 0] if colors.shape[2] == 1 else colors @ np.array(_LUMA)
    return _opaque(plane, greys[:, :, -1] / white, white) if has_alpha else plane


def _odd(channels: int) -> bool:
    return channels not in (1, 2, 3, 4)


def _opaque(plane: Greys, alpha: Greys, white: float) -> Greys:
    """Return what a half-transparent picture looks like on paper that its strokes show on."""
    if np.ptp(alpha) == 0.0:
        return plane
    stroke = float((plane * alpha).sum() / alpha.sum())
    paper = 0.0 if stroke > white / 2 else white
    return plane * alpha + paper * (1.0 - alpha)
