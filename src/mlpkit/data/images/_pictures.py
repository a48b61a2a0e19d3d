"""Pictures of any format to tensors, by Pillow, which is imported when the first one comes."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

import numpy as np
import torch
from torch import Tensor

from mlpkit._checks import error_message
from mlpkit.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image


def is_picture(value: object) -> TypeGuard[Image]:
    """Return whether a value is a Pillow image, without importing Pillow to find out."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(value, pillow.Image)


def read_picture(path: str | os.PathLike[str]) -> Image:
    """Return the whole picture in a file, turned upright as its camera noted.

    Raises:
        DataError: If the file is no picture, is cut short, or is too large to be unpacked safely.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    rule = f"the picture {Path(path)}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                return ImageOps.exif_transpose(picture)
    except FileNotFoundError as error:
        raise DataError(error_message(rule, "a file", "no such file")) from error
    except UnidentifiedImageError as error:
        cure = "remove the file, or save it in a format that Pillow reads"
        raise DataError(error_message(rule, "a picture", "some other file", cure)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(error_message(rule, "of a sane size", str(error))) from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise DataError(error_message(rule, "readable", str(error))) from error


def check_convertible(picture: Image, name: str) -> None:
    """Refuse what Pillow would falsify on the way to gray or RGB without a word."""
    if picture.mode in ("I", "F", "LAB") or picture.mode.startswith("I;"):  # would be cut off
        cure = "scale it to grays from 0 to 255 and save it anew"
        raise DataError(error_message(name, "of 8 bits a channel", f"mode {picture.mode}", cure))
    if not picture.has_transparency_data:
        return
    if picture.mode == "La":  # Pillow converts it to LA alone
        picture = picture.convert("LA")
    if picture.convert("RGBA").getchannel("A").getextrema() != (255, 255):  # would be laid bare
        cure = "lay it over paper of one color and save it anew"
        raise DataError(error_message(name, "opaque", "transparent pixels", cure))


def picture_to_tensor(picture: Image) -> Tensor:
    """Return uint8 of shape (H, W) for a gray picture, (channels, H, W) for any other."""
    if picture.mode in ("1", "L"):
        return torch.from_numpy(np.array(picture.convert("L")))
    if picture.mode == "La":  # Pillow converts it to LA alone
        picture = picture.convert("LA")
    if picture.mode in ("P", "CMYK", "YCbCr", "HSV", "PA", "LA", "RGBX", "RGBa"):
        picture = picture.convert("RGB")
    if picture.mode not in ("RGB", "RGBA"):
        rule = "gray, RGB or RGBA with 8 bits a channel"
        cure = "convert it to a tensor by a transform of your own"
        raise DataError(error_message("a picture", rule, f"mode {picture.mode}", cure))
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()


def picture_from_tensor(planes: Tensor) -> Image:
    """Return uint8 planes of shape (1 or 3, H, W) as a Pillow image."""
    from PIL import Image

    if planes.shape[0] == 1:
        return Image.fromarray(planes[0].contiguous().numpy())
    return Image.fromarray(planes.permute(1, 2, 0).contiguous().numpy())
