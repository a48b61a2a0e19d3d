"""Reading images at displaced points: any number of coordinate maps, one interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from mlpkit.data.augment._augmentation import as_dtype, image_indices, image_planes, working_dtype

# So many images that the intermediate tensors of 28 x 28 stay in the processor's cache.
_CPU_CHUNK = 256
_GPU_CHUNK = 8192


class Warp(Protocol):
    """Says for each point of the new image at which point of the old one it is read."""

    def source_points(self, points: Tensor, *, seed: int, epoch: int, indices: Tensor) -> Tensor:
        """Return where to read for ``points``: (n or 1, 2, H, W), (x, y) in pixels from the middle.

        The result has shape (n, 2, H, W); ``points`` are left as they are.
        """
        ...


def warp(
    images: Tensor,
    warps: Sequence[tuple[Warp, int]],
    *,
    epoch: int,
    indices: Tensor | None,
) -> Tensor:
    """Return the images after all ``warps``, each with its seed, by one bilinear interpolation.

    The value read outside an image is 0. Where no point moves the images keep their bits.

    Args:
        images: uint8 or floating-point, shape (n, H, W) or (n, channels, H, W).
        warps: In the order in which they act on the images. All but the last must take points off
            the pixel grid.
        epoch: Epoch, counted from 0.
        indices: Position of each image in its data set; None: 0 .. n - 1.
    """
    planes = image_planes(images)
    positions = image_indices(images, indices)
    result = torch.empty_like(planes)
    chunk = _CPU_CHUNK if images.device.type == "cpu" else _GPU_CHUNK
    with torch.autocast(images.device.type, enabled=False):  # points need all their digits
        grid = pixel_grid(planes)
        for start in range(0, len(planes), chunk):
            part = slice(start, start + chunk)
            # The last warp says where the new image reads the one before it, and so on back.
            points = grid
            for step, seed in reversed(warps):
                points = step.source_points(points, seed=seed, epoch=epoch, indices=positions[part])
            result[part] = as_dtype(_read(planes[part], points), images.dtype)
    return result.view_as(images)


def pixel_grid(planes: Tensor) -> Tensor:
    """Return the (x, y) of every pixel, counted from the middle, shape (1, 2, H, W)."""
    height, width = planes.shape[-2:]
    dtype, device = working_dtype(planes), planes.device
    x = torch.arange(width, dtype=dtype, device=device) - (width - 1) / 2
    y = torch.arange(height, dtype=dtype, device=device) - (height - 1) / 2
    columns, rows = x.expand(height, width), y.unsqueeze(1).expand(height, width)
    return torch.stack((columns, rows)).unsqueeze(0)


def _read(planes: Tensor, points: Tensor) -> Tensor:
    """Return the planes interpolated at ``points``, shape (n, channels, H, W)."""
    height, width = planes.shape[-2:]
    # grid_sample rescales [-1, 1] to pixels. That is exact only if the side is a power of two, so
    # the images are framed to one: a point on a pixel then reads that pixel bit for bit.
    frame = (1 << (height - 1).bit_length(), 1 << (width - 1).bit_length())
    framed = planes.new_zeros((*planes.shape[:2], *frame), dtype=points.dtype)
    framed[..., :height, :width] = planes
    # Powers of two: all of these are exact. Filled on the device, as a recorded step needs it.
    scale = _both(points, 2.0 / frame[1], 2.0 / frame[0])
    middle = _both(points, width / frame[1] - 1.0, height / frame[0] - 1.0)
    grid = torch.addcmul(middle, points, scale).permute(0, 2, 3, 1)
    if len(grid) != len(planes):
        grid = grid.expand(len(planes), -1, -1, -1)
    return F.grid_sample(framed, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _both(points: Tensor, x: float, y: float) -> Tensor:
    """Return a number for each axis of points, shape (1, 2, 1, 1)."""
    return torch.stack((points.new_full((), x), points.new_full((), y))).view(1, 2, 1, 1)
