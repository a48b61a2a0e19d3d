"""Contact sheets: many small images in one grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mlpkit._checks import Unquoted, check_int, error_message
from mlpkit.data.augment import image_planes
from mlpkit.data.images._pillow import to_pil_image

if TYPE_CHECKING:
    from PIL.Image import Image

_LABEL_HEIGHT = 12  # height of Pillow's built-in font at size 10, in pixels
_BACKGROUND = 96


def contact_sheet(
    images: Tensor,
    labels: Sequence[object] | Tensor | None = None,
    *,
    columns: int = 10,
    zoom: int = 2,
    gap: int = 2,
) -> Image:
    """Arrange images in a grid and return it as a Pillow image.

    ``contact_sheet(images).save("sheet.png")`` writes the grid to a file.

    Args:
        images: Images of shape (n, H, W), or (n, channels, H, W) with 1 or 3 channels. uint8 in
            [0, 255], or floating-point in [0, 1]; values outside are clamped.
        labels: Label of each image, converted by ``str`` and written below it; a tensor of shape
            (n,), such as class indices, counts as its numbers. None writes no labels.
        columns: Number of images in a row, at least 1.
        zoom: Factor by which each image is enlarged along both axes, an integer of at least 1.
        gap: Space between images, in pixels, at least 0.

    Returns:
        A gray image, or an RGB image if there are 3 channels.

    Raises:
        TypeError: If ``images`` are neither uint8 nor floating-point, or an option is no integer.
        ValueError: If there is no image, if the number of labels differs from the number of images,
            or if an option is out of range.

    Example:
        >>> import torch
        >>> from mlpkit.data import contact_sheet
        >>> contact_sheet(torch.rand(6, 28, 28), columns=3, zoom=1, gap=2).size
        (92, 62)
    """
    planes = image_planes(images).detach().cpu()
    if not len(planes) or planes.shape[1] not in (1, 3):
        rule = "at least one image with 1 or 3 channels"
        raise ValueError(error_message("images", rule, tuple(images.shape)))
    if isinstance(labels, Tensor):
        if labels.ndim != 1:
            raise ValueError(error_message("labels", "of shape (n,)", tuple(labels.shape)))
        labels = labels.tolist()
    if labels is not None and len(labels) != len(planes):
        rule = f"one for each of the {len(planes)} images"
        raise ValueError(error_message("labels", rule, Unquoted(f"{len(labels)} labels")))
    columns = min(check_int("columns", columns, minimum=1), len(planes))
    tiles = _tiles(planes, check_int("zoom", zoom, minimum=1))
    gap = check_int("gap", gap, minimum=0)
    below = 0 if labels is None else _LABEL_HEIGHT
    step_y, step_x = tiles.shape[-2] + below + gap, tiles.shape[-1] + gap
    rows = -(-len(tiles) // columns)
    size = (tiles.shape[1], rows * step_y + gap, columns * step_x + gap)
    sheet = torch.full(size, _BACKGROUND, dtype=torch.uint8)
    corners = [
        (gap + index // columns * step_y, gap + index % columns * step_x)
        for index in range(len(tiles))
    ]
    for tile, (top, left) in zip(tiles, corners, strict=True):
        sheet[:, top : top + tile.shape[1], left : left + tile.shape[2]] = tile
    image = to_pil_image(sheet)
    if labels is not None:
        _write_labels(image, labels, corners, tiles.shape[-2], tiles.shape[-1])
    return image


def _tiles(planes: Tensor, zoom: int) -> Tensor:
    """Return the images as uint8, each pixel enlarged to a square of ``zoom`` pixels a side."""
    if planes.is_floating_point():
        planes = (planes.float() * 255.0).round().clamp(0, 255).to(torch.uint8)
    return planes.repeat_interleave(zoom, dim=-2).repeat_interleave(zoom, dim=-1)


def _write_labels(
    image: Image,
    labels: Sequence[object],
    corners: Sequence[tuple[int, int]],
    height: int,
    width: int,
) -> None:
    """Write each label centered below its image; ``corners`` holds (top, left) of each image."""
    from PIL import ImageDraw, ImageFont

    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=10)
    white = "white" if image.mode == "RGB" else 255
    for label, (top, left) in zip(labels, corners, strict=True):
        place = (left + width / 2, top + height + _LABEL_HEIGHT / 2)
        draw.text(place, str(label), fill=white, font=font, anchor="mm")
