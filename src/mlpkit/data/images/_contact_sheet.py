"""Many small images on one sheet, to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mlpkit._checks import check_int, error_message
from mlpkit.data.augment import image_planes
from mlpkit.data.images._pictures import picture_from_tensor

if TYPE_CHECKING:
    from PIL.Image import Image

_LABEL_HEIGHT = 12  # of Pillow's built-in font at size 10


def contact_sheet(
    images: Tensor,
    labels: Sequence[object] | None = None,
    *,
    columns: int = 10,
    zoom: int = 2,
    gap: int = 2,
) -> Image:
    """Lay images out in rows, as a Pillow image: ``contact_sheet(images).save("sheet.png")``.

    Args:
        images: Shape (n, H, W), or (n, channels, H, W) with 1 or 3 channels. uint8 grays in
            [0, 255], or floating-point in [0, 1]; what lies beyond is cut off.
        labels: What is written under each image, by ``str``. None: nothing.
        columns: Images in a row.
        zoom: Screen pixels for each pixel, along both axes.
        gap: Screen pixels between images.

    Returns:
        A gray image, or RGB where there are 3 channels.

    Raises:
        ValueError: If there is no image, or the number of labels is another one.

    Example:
        >>> import torch
        >>> from mlpkit.data import contact_sheet
        >>> contact_sheet(torch.rand(6, 28, 28), columns=3, zoom=1, gap=2).size
        (92, 62)
    """
    planes = image_planes(images).detach().cpu()
    if not len(planes) or planes.shape[1] not in (1, 3):
        rule = "one image or more with 1 or 3 channels"
        raise ValueError(error_message("images", rule, tuple(images.shape)))
    if labels is not None and len(labels) != len(planes):
        rule = f"one for each of the {len(planes)} images"
        raise ValueError(error_message("labels", rule, f"{len(labels)} labels"))
    columns = min(check_int("columns", columns, minimum=1), len(planes))
    tiles = _tiles(planes, check_int("zoom", zoom, minimum=1))
    gap = check_int("gap", gap, minimum=0)
    below = 0 if labels is None else _LABEL_HEIGHT
    step_y, step_x = tiles.shape[-2] + below + gap, tiles.shape[-1] + gap
    rows = -(-len(tiles) // columns)
    sheet = torch.full((tiles.shape[1], rows * step_y + gap, columns * step_x + gap), _PAPER)
    corners = [
        (gap + index // columns * step_y, gap + index % columns * step_x)
        for index in range(len(tiles))
    ]
    sheet = sheet.to(torch.uint8)
    for tile, (top, left) in zip(tiles, corners, strict=True):
        sheet[:, top : top + tile.shape[1], left : left + tile.shape[2]] = tile
    picture = picture_from_tensor(sheet)
    if labels is not None:
        _write(picture, labels, corners, tiles.shape[-2], tiles.shape[-1])
    return picture


_PAPER = 96


def _tiles(planes: Tensor, zoom: int) -> Tensor:
    """Return the images as uint8, each pixel as a square."""
    if planes.is_floating_point():
        planes = (planes.float() * 255.0).round().clamp(0, 255).to(torch.uint8)
    return planes.repeat_interleave(zoom, dim=-2).repeat_interleave(zoom, dim=-1)


def _write(
    picture: Image,
    labels: Sequence[object],
    corners: Sequence[tuple[int, int]],
    height: int,
    width: int,
) -> None:
    """Write each label in the middle below its image."""
    from PIL import ImageDraw, ImageFont

    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=10)
    white = "white" if picture.mode == "RGB" else 255
    for label, (top, left) in zip(labels, corners, strict=True):
        place = (left + width / 2, top + height + _LABEL_HEIGHT / 2)
        draw.text(place, str(label), fill=white, font=font, anchor="mm")
