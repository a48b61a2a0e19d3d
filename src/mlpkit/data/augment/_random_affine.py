"""Random affine maps: rotation, shear, scaling and translation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from mlpkit._checks import (
    Check,
    check_bool,
    check_float,
    check_tuple,
    error_message,
    store_checked,
)
from mlpkit.data._random import derive, uniforms
from mlpkit.data.augment._augmentation import ImageAugmentation
from mlpkit.data.augment._warp import warp

_STREAM = 0xAFF1


class AffineParameters(NamedTuple):
    """Parameters drawn by :class:`RandomAffine`; each is float64 of shape (n,), one per image.

    Attributes:
        angle: Rotation in degrees; positive values turn the displayed image clockwise.
        shear: Horizontal shear in degrees.
        scale_x: Scale factor of the width.
        scale_y: Scale factor of the height.
        shift_x: Translation to the right, as a fraction of the width.
        shift_y: Translation downward, as a fraction of the height.
    """

    angle: Tensor
    shear: Tensor
    scale_x: Tensor
    scale_y: Tensor
    shift_x: Tensor
    shift_y: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class RandomAffine(ImageAugmentation):
    r"""Apply a random affine map about the image center to each image.

    A pixel at :math:`p`, relative to the image center, moves to

    .. math::

        p' = \begin{pmatrix} \cos a & -\sin a \\ \sin a & \cos a \end{pmatrix}
             \begin{pmatrix} 1 & -\tan s \\ 0 & 1 \end{pmatrix}
             \begin{pmatrix} f_x & 0 \\ 0 & f_y \end{pmatrix} p + t

    with angle :math:`a`, shear :math:`s`, scale factors :math:`f` and translation :math:`t` drawn
    uniformly and independently for each image. The signs follow torchvision's ``affine``. The
    image is interpolated bilinearly; points outside it read 0.

    Args:
        degrees: Largest rotation in degrees, in [0, 180]. The angle is drawn from
            [-degrees, degrees].
        translate: Largest translation, as fractions of (width, height), each in [0, 1]. For
            2 pixels of 28, pass ``(2 / 28, 2 / 28)``.
        scale: Lowest and highest scale factor, greater than 0.
        shear: Largest horizontal shear in degrees, in [0, 90). The shear is drawn from
            [-shear, shear].
        isotropic: Whether width and height share one scale factor. If False, the two factors are
            drawn independently.

    Shape:
        Images (n, H, W) or (n, channels, H, W), uint8 in [0, 255] or floating-point. Shape and
        dtype are preserved. The computation is in float32 (float64 for float64 images), and uint8
        results are rounded.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range.

    Example:
        >>> import torch
        >>> from mlpkit.data import RandomAffine
        >>> images = torch.randint(0, 256, (4, 28, 28), dtype=torch.uint8)
        >>> affine = RandomAffine(degrees=15, scale=(0.85, 1.15), shear=15)
        >>> turned = affine(images, seed=0, epoch=0)
        >>> turned.shape, turned.dtype
        (torch.Size([4, 28, 28]), torch.uint8)
        >>> torch.equal(RandomAffine()(images), images)
        True

    References:
        Cireşan, Meier, Gambardella and Schmidhuber (2010), *Deep, big, simple neural nets for
        handwritten digit recognition*, section 3: rotation or shear by up to 15 degrees, scale
        factors within 15 to 20 percent, drawn independently for width and height.
    """

    degrees: float = 0.0
    translate: tuple[float, float] = (0.0, 0.0)
    scale: tuple[float, float] = (1.0, 1.0)
    shear: float = 0.0
    isotropic: bool = False

    def __post_init__(self) -> None:
        checks: dict[str, Check[object]] = {
            "degrees": partial(check_float, minimum=0.0, maximum=180.0),
            "translate": partial(check_pair, minimum=0.0, maximum=1.0),
            "scale": partial(check_pair, above=0.0, is_range=True),
            "shear": partial(check_float, minimum=0.0, below=90.0),
            "isotropic": check_bool,
        }
        store_checked(self, checks)

    def draw(self, indices: Tensor, *, seed: int = 0, epoch: int = 0) -> AffineParameters:
        """Return the parameters drawn for the images at ``indices``.

        Args:
            indices: Position of each image in its data set, int64, shape (n,).
            seed: Seed of the run.
            epoch: Epoch, counted from 0.
        """
        unit = uniforms(derive(seed, _STREAM, epoch), indices, 6).unbind(dim=1)
        low, high = self.scale
        scale_x = low + (high - low) * unit[2]
        return AffineParameters(
            angle=self.degrees * (2 * unit[0] - 1),
            shear=self.shear * (2 * unit[1] - 1),
            scale_x=scale_x,
            scale_y=scale_x if self.isotropic else low + (high - low) * unit[3],
            shift_x=self.translate[0] * (2 * unit[4] - 1),
            shift_y=self.translate[1] * (2 * unit[5] - 1),
        )

    def source_points(self, points: Tensor, *, seed: int, epoch: int, indices: Tensor) -> Tensor:
        """Return the input point that each output point reads, shape (n, 2, H, W).

        Args:
            points: Output points, (x, y) in pixels from the image center, shape
                (n or 1, 2, H, W).
            seed: Seed of the run.
            epoch: Epoch, counted from 0.
            indices: Position of each image in its data set, int64, shape (n,).
        """
        drawn = self.draw(indices, seed=seed, epoch=epoch)
        height, width = points.shape[-2:]
        angle = torch.deg2rad(drawn.angle)
        cos, sin, tan = torch.cos(angle), torch.sin(angle), torch.tan(torch.deg2rad(drawn.shear))
        # The inverse of the product of the three matrices: rotate back, unshear, unscale.
        rows = (
            (cos - tan * sin) / drawn.scale_x,
            (sin + tan * cos) / drawn.scale_x,
            -sin / drawn.scale_y,
            cos / drawn.scale_y,
        )
        inverse = torch.stack(rows, dim=1).view(-1, 2, 2)
        shift = torch.stack((drawn.shift_x * width, drawn.shift_y * height), dim=1).unsqueeze(2)
        offset = (-inverse @ shift).to(points.dtype)
        flat = points.flatten(2).expand(len(indices), -1, -1)
        matrix = inverse.to(points.dtype)
        # Written as sums of products: torch's settings may round a float32 matrix product to TF32
        # or bfloat16.
        moved = matrix[:, :, :1] * flat[:, :1]
        moved += matrix[:, :, 1:] * flat[:, 1:]
        moved += offset
        return moved.view(-1, 2, height, width)

    def _augment(self, images: Tensor, *, seed: int, epoch: int, indices: Tensor) -> Tensor:
        return warp(images, ((self, seed),), epoch=epoch, indices=indices)


def check_pair(
    argument: str,
    values: object,
    *,
    above: float | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    is_range: bool = False,
) -> tuple[float, float]:
    """Return ``values`` as two finite floats within the bounds; for a range, in order."""
    check = partial(check_float, above=above, minimum=minimum, maximum=maximum)
    checked = check_tuple(argument, values, check, rule="a pair of numbers")
    if len(checked) != 2:
        raise TypeError(error_message(argument, "a pair of numbers", values))
    first, second = checked
    if is_range and first > second:
        raise ValueError(error_message(argument, "(lowest, highest)", (first, second)))
    return first, second
