"""Conversion between Pillow images and tensors. Pillow is imported on first use."""

from __future__ import annotations

import os
import struct
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

import numpy as np
import torch
from torch import Tensor

from mlpkit._checks import Unquoted, error_message
from mlpkit._files import open_regular
from mlpkit.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

# Raster formats alone, whatever the suffix: for EPS, for instance, Pillow starts Ghostscript.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")


def is_pil_image(value: object) -> TypeGuard[Image]:
    """Return whether ``value`` is a Pillow image, without importing Pillow."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(value, pillow.Image)


def read_image(path: str | os.PathLike[str]) -> Image:
    """Read an image file completely and apply its EXIF orientation.

    The content decides which of ``FORMATS`` it is, not the suffix.

    Raises:
        DataError: If the file is missing, is not a regular file, has none of these formats, is
            truncated, or exceeds Pillow's limit on the number of pixels.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    name = f"the image {Path(path)}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with open_regular(path) as file, Image.open(file, formats=FORMATS) as image:
                return ImageOps.exif_transpose(image)
    except FileNotFoundError as error:
        raise DataError(error_message(name, "a file", Unquoted("no such file"))) from error
    except UnidentifiedImageError as error:
        rule = f"an image file ({', '.join(FORMATS)})"
        cure = "remove the file, or save it in one of these formats"
        raise DataError(error_message(name, rule, Unquoted("another format"), cure)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        rule = "within Pillow's limit on the number of pixels"
        raise DataError(error_message(name, rule, Unquoted(str(error)))) from error
    except (
        *(OSError, EOFError, SyntaxError, TypeError, ValueError),
        *(ArithmeticError, LookupError, RuntimeError, struct.error),
    ) as error:  # what Pillow raises for damaged files
        raise DataError(error_message(name, "readable", Unquoted(str(error)))) from error


def check_convertible(image: Image, name: str) -> None:
    """Refuse an image that Pillow would silently distort when converting it to gray or RGB."""
    if image.mode in ("I", "F", "LAB") or image.mode.startswith("I;"):  # values would be clipped
        cure = "rescale the values to [0, 255] and save the image again"
        raise DataError(
            error_message(name, "of 8 bits per channel", Unquoted(f"mode {image.mode}"), cure)
        )
    if not image.has_transparency_data:
        return
    if image.mode == "La":  # Pillow converts La only to LA
        image = image.convert("LA")
    # Dropping the alpha channel would reveal hidden pixels.
    if image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        cure = "place it on a background of one color and save it again"
        raise DataError(error_message(name, "opaque", Unquoted("transparent pixels"), cure))


def pil_to_tensor(image: Image) -> Tensor:
    """Return uint8 of shape (H, W) for a gray image, (channels, H, W) for any other mode."""
    if image.mode in ("1", "L"):
        return torch.from_numpy(np.array(image.convert("L")))
    if image.mode == "La":  # Pillow converts La only to LA
        image = image.convert("LA")
    if image.mode in ("P", "CMYK", "YCbCr", "HSV", "PA", "LA", "RGBX", "RGBa"):
        image = image.convert("RGB")
    if image.mode not in ("RGB", "RGBA"):
        rule = "gray, RGB or RGBA with 8 bits per channel"
        cure = "convert it to a tensor in a custom transform"
        raise DataError(error_message("an image", rule, Unquoted(f"mode {image.mode}"), cure))
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def to_pil_image(planes: Tensor) -> Image:
    """Return uint8 planes of shape (1 or 3, H, W) as a Pillow image."""
    from PIL import Image

    if planes.shape[0] == 1:
        return Image.fromarray(planes[0].contiguous().numpy())
    return Image.fromarray(planes.permute(1, 2, 0).contiguous().numpy())
