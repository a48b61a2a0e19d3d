"""Warping of images: any number of composed coordinate maps, one bilinear interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from mlpkit.data.augment._augmentation import as_dtype, image_planes, working_dtype

# Images per chunk. On a CPU the intermediate tensors of 28 x 28 images then fit into the cache.
_CPU_CHUNK = 256
_GPU_CHUNK = 8192


class Warp(Protocol):
    """A coordinate map from the points of the output image to points of the input image."""

    def source_points(self, points: Tensor, *, seed: int, epoch: int, indices: Tensor) -> Tensor:
        """Return the input point that each output point reads, shape (n, 2, H, W).

        ``points`` has shape (n or 1, 2, H, W) and holds (x, y) in pixels from the image center.
        It must not be modified.
        """
        ...


def warp(
    images: Tensor,
    warps: Sequence[tuple[Warp, int]],
    *,
    epoch: int,
    indices: Tensor,
) -> Tensor:
    """Apply all ``warps`` to the images with a single bilinear interpolation.

    Points outside an image read 0. Where no point moves, the result is bit-identical to the input.

    Args:
        images: uint8 or floating-point, shape (n, H, W) or (n, channels, H, W).
        warps: Pairs of coordinate map and seed, in the order in which they act on the images. All
            maps but the last must accept points off the pixel grid.
        epoch: Epoch, counted from 0.
        indices: Position of each image in its data set, int64, shape (n,), on the same device.
    """
    planes = image_planes(images)
    result = torch.empty_like(planes)
    chunk = _CPU_CHUNK if images.device.type == "cpu" else _GPU_CHUNK
    with torch.autocast(images.device.type, enabled=False):  # coordinates need full precision
        grid = pixel_grid(planes)
        for start in range(0, len(planes), chunk):
            part = slice(start, start + chunk)
            # From output to input: the last warp maps its points to those of the warp before it.
            points = grid
            for step, seed in reversed(warps):
                points = step.source_points(points, seed=seed, epoch=epoch, indices=indices[part])
            result[part] = as_dtype(_interpolate(planes[part], points), images.dtype)
    return result.view_as(images)


def pixel_grid(planes: Tensor) -> Tensor:
    """Return (x, y) of every pixel relative to the image center, shape (1, 2, H, W)."""
    height, width = planes.shape[-2:]
    dtype, device = working_dtype(planes), planes.device
    x = torch.arange(width, dtype=dtype, device=device) - (width - 1) / 2
    y = torch.arange(height, dtype=dtype, device=device) - (height - 1) / 2
    columns, rows = x.expand(height, width), y.unsqueeze(1).expand(height, width)
    return torch.stack((columns, rows)).unsqueeze(0)


def _interpolate(planes: Tensor, points: Tensor) -> Tensor:
    """Return the planes interpolated at ``points``, shape (n, channels, H, W)."""
    height, width = planes.shape[-2:]
    # grid_sample rescales [-1, 1] to pixels, which is exact only if the side is a power of two.
    # The images are padded to such a size, so that a point on a pixel reads that pixel exactly.
    frame = (1 << (height - 1).bit_length(), 1 << (width - 1).bit_length())
    framed = planes.new_zeros((*planes.shape[:2], *frame), dtype=points.dtype)
    framed[..., :height, :width] = planes
    # Both are exact in floating point. They are filled on the device: a copy from the host cannot
    # be part of a CUDA graph capture.
    scale = _per_axis(points, 2.0 / frame[1], 2.0 / frame[0])
    center = _per_axis(points, width / frame[1] - 1.0, height / frame[0] - 1.0)
    grid = torch.addcmul(center, points, scale).permute(0, 2, 3, 1)
    if len(grid) != len(planes):
        grid = grid.expand(len(planes), -1, -1, -1)
    return F.grid_sample(framed, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _per_axis(points: Tensor, x: float, y: float) -> Tensor:
    """Return (x, y) as a tensor that broadcasts against ``points``, shape (1, 2, 1, 1)."""
    return torch.stack((points.new_full((), x), points.new_full((), y))).view(1, 2, 1, 1)
