"""Conversion of files, Pillow images, arrays and tensors to a single gray plane."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mlpkit._checks import Unquoted, error_message
from mlpkit.data.images._pillow import is_pil_image, read_image

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in Pillow's mode L

GrayPlane = npt.NDArray[np.float64]


def gray_plane(image: object) -> GrayPlane:
    """Return the gray values of an image, float64 of shape (H, W), in the units of the input.

    A partly transparent image is placed on white, or on black if its opaque parts are light.

    Args:
        image: A path, a Pillow image, an array of shape (H, W) or (H, W, channels), or a tensor of
            shape (H, W) or (channels, H, W), with 1 to 4 channels.

    Raises:
        DataError: If a file cannot be read as an image.
        TypeError: If ``image`` has another type, or its values are not real numbers.
        ValueError: If its shape is unsupported or a value is not finite.
    """
    if isinstance(image, str | os.PathLike):
        image = read_image(image)
    if is_pil_image(image):
        if image.mode == "La":  # Pillow converts La to RGBA only by way of LA
            image = image.convert("LA")
        if image.mode in ("P", "PA", "LA", "RGBa"):
            image = image.convert("RGBA")
        elif image.mode in ("CMYK", "YCbCr", "LAB", "HSV", "RGBX"):
            image = image.convert("RGB")
        array = np.asarray(image)
    elif isinstance(image, Tensor):
        planes = image.detach().cpu()
        if planes.dtype == torch.bfloat16:  # NumPy has no bfloat16
            planes = planes.float()
        array = (planes.movedim(0, -1) if planes.ndim == 3 else planes).numpy()
    elif isinstance(image, np.ndarray):
        array = image
    else:
        rule = "a path, a Pillow image, an array or a tensor"
        raise TypeError(error_message("image", rule, type(image)))
    return _merge_channels(array)


def _merge_channels(array: npt.NDArray[np.generic]) -> GrayPlane:
    """Return one plane, shape (H, W), from an array of shape (H, W) or (H, W, channels)."""
    if array.dtype.kind not in "buif":
        raise TypeError(error_message("image", "of real numbers", array.dtype))
    white = 2.0 ** (8 * array.itemsize) - 1.0 if array.dtype.kind == "u" else 1.0
    grays = array.astype(np.float64)
    has_channels = grays.ndim == 3
    if (
        grays.ndim not in (2, 3)
        or grays.size == 0
        or (has_channels and grays.shape[2] not in (1, 2, 3, 4))
    ):
        rule = "of shape (H, W), (H, W, 1 to 4) in an array or (1 to 4, H, W) in a tensor"
        raise ValueError(error_message("image", rule, array.shape))
    if not np.isfinite(grays).all():
        raise ValueError(
            error_message("image", "finite in every pixel", Unquoted("NaN or infinity"))
        )
    if not has_channels:
        return grays
    has_alpha = grays.shape[2] in (2, 4)
    colors = grays[:, :, :-1] if has_alpha else grays
    plane: GrayPlane = colors[:, :, 0] if colors.shape[2] == 1 else colors @ np.array(_LUMA)
    return _on_background(plane, grays[:, :, -1] / white, white) if has_alpha else plane


def _on_background(plane: GrayPlane, alpha: GrayPlane, white: float) -> GrayPlane:
    """Return a partly transparent plane blended with white, or with black if it is light."""
    if np.ptp(alpha) == 0.0:
        return plane
    stroke = float((plane * alpha).sum() / alpha.sum())
    background = 0.0 if stroke > white / 2 else white
    return plane * alpha + background * (1.0 - alpha)
