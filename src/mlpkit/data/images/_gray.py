"""Any picture as one plane of grays: files, Pillow images, arrays and tensors."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mlpkit._checks import error_message
from mlpkit.data.images._pictures import is_picture, read_picture

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's mode L

Grays = npt.NDArray[np.float64]


def gray_plane(image: object) -> Grays:
    """Return the grays of a picture, float64 of shape (H, W), in the units that it came in.

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
        raise TypeError(error_message("image", rule, type(image)))
    return _without_channels(array)


def _without_channels(array: npt.NDArray[np.generic]) -> Grays:
    """Return one plane from (H, W) or (H, W, channels)."""
    if array.dtype.kind not in "buif":
        raise TypeError(error_message("image", "of real numbers", array.dtype))
    white = 2.0 ** (8 * array.itemsize) - 1.0 if array.dtype.kind == "u" else 1.0
    grays = array.astype(np.float64)
    if grays.ndim not in (2, 3) or grays.size == 0 or (grays.ndim == 3 and _odd(grays.shape[2])):
        rule = "of shape (H, W), with 1 to 4 channels last in an array and first in a tensor"
        raise ValueError(error_message("image", rule, array.shape))
    if not np.isfinite(grays).all():
        raise ValueError(error_message("image", "finite in every pixel", "NaN or infinity"))
    if grays.ndim == 2:
        return grays
    has_alpha = grays.shape[2] in (2, 4)
    colors = grays[:, :, :-1] if has_alpha else grays
    plane: Grays = colors[:, :, 0] if colors.shape[2] == 1 else colors @ np.array(_LUMA)
    return _opaque(plane, grays[:, :, -1] / white, white) if has_alpha else plane


def _odd(channels: int) -> bool:
    return channels not in (1, 2, 3, 4)


def _opaque(plane: Grays, alpha: Grays, white: float) -> Grays:
    """Return what a half-transparent picture looks like on paper that its strokes show on."""
    if np.ptp(alpha) == 0.0:
        return plane
    stroke = float((plane * alpha).sum() / alpha.sum())
    paper = 0.0 if stroke > white / 2 else white
    return plane * alpha + paper * (1.0 - alpha)
