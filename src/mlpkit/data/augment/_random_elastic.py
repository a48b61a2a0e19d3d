"""Random elastic deformation of images."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from mlpkit._checks import Check, check_float, store_checked
from mlpkit.data._random import derive, noise
from mlpkit.data.augment._augmentation import ImageAugmentation
from mlpkit.data.augment._warp import warp

_STREAM = 0xE1A5


@dataclass(frozen=True, kw_only=True, slots=True)
class RandomElastic(ImageAugmentation):
    r"""Apply a random elastic deformation to each image.

    Each output pixel reads the input image at its position plus a smooth random displacement

    .. math::

        d_x = \alpha \, G_\sigma * u_x, \qquad d_y = \alpha \, G_\sigma * u_y,
        \qquad u_x, u_y \sim U(-1, 1) \text{ at every pixel},

    where :math:`G_\sigma` is a Gaussian normalized to unit sum over all pixels. Alpha is therefore
    the largest displacement in pixels before smoothing. After smoothing, the root mean square is

    .. math::

        \operatorname{rms}(d_x) = \frac{\alpha}{\sqrt 3} \cdot \frac{1}{2 \sqrt \pi \, \sigma},

    which is 1.4 pixels for alpha 34 and sigma 4, and 1.1 pixels for alpha 37 and sigma 5.5.
    torchvision's ``ElasticTransform`` and the papers use the same unit. With a Gaussian normalized
    to a peak of 1, alpha would have to be smaller by a factor of :math:`2 \pi \sigma^2`.

    There is no noise outside the image. The smoothing is rescaled near the edges, so that the
    formula for the root mean square holds at every pixel. The image is interpolated bilinearly;
    points outside it read 0.

    Args:
        alpha: Largest displacement before smoothing, in pixels, at least 0.
        sigma: Standard deviation of the Gaussian, in pixels, greater than 0.

    Shape:
        Images (n, H, W) or (n, channels, H, W), uint8 in [0, 255] or floating-point. Shape and
        dtype are preserved. The computation is in float32 (float64 for float64 images), and uint8
        results are rounded.

    Raises:
        TypeError: If an argument is not a number.
        ValueError: If an argument is out of range.

    Example:
        >>> import torch
        >>> from mlpkit.data import RandomElastic
        >>> images = torch.randint(0, 256, (4, 28, 28), dtype=torch.uint8)
        >>> elastic = RandomElastic(alpha=34, sigma=4)
        >>> elastic(images, seed=0, epoch=0).shape
        torch.Size([4, 28, 28])
        >>> round(elastic.rms, 2)
        1.38

    References:
        Simard, Steinkraus and Platt (2003), *Best practices for convolutional neural networks
        applied to visual document analysis*, section 2: sigma 4, alpha 34.
    """

    alpha: float = 34.0
    sigma: float = 4.0

    def __post_init__(self) -> None:
        checks: dict[str, Check[object]] = {
            "alpha": partial(check_float, minimum=0.0),
            "sigma": partial(check_float, above=0.0),
        }
        store_checked(self, checks)

    @property
    def rms(self) -> float:
        """Root mean square of the displacement along one axis, in pixels."""
        kernel = _gaussian(self.sigma, _kernel_half_width(self.sigma))
        return self.alpha / math.sqrt(3.0) * float(kernel.square().sum())

    def displacement(
        self, indices: Tensor, size: tuple[int, int], *, seed: int = 0, epoch: int = 0
    ) -> Tensor:
        """Return the displacement (d_x, d_y) in pixels, float32, shape (n, 2, H, W).

        Args:
            indices: Position of each image in its data set, int64, shape (n,).
            size: Height and width in pixels.
            seed: Seed of the run.
            epoch: Epoch, counted from 0.
        """
        height, width = size
        field = noise(derive(seed, _STREAM, epoch), indices, 2 * height * width)
        field = field.view(-1, height, width).double()  # bmm may round float32 to TF32
        # One product per matrix: a single product over all rows may round differently when the
        # batch changes.
        down = _smoothing(self.sigma, height, indices.device) * self.alpha
        across = _smoothing(self.sigma, width, indices.device).t()
        field = torch.bmm(field, across.expand(len(field), -1, -1))
        field = torch.bmm(down.expand(len(field), -1, -1), field).float()
        return field.view(-1, 2, height, width)

    def source_points(self, points: Tensor, *, seed: int, epoch: int, indices: Tensor) -> Tensor:
        """Return the input point that each output point reads, shape (n, 2, H, W).

        Args:
            points: Output points, which must be the pixel grid, shape (1, 2, H, W).
            seed: Seed of the run.
            epoch: Epoch, counted from 0.
            indices: Position of each image in its data set, int64, shape (n,).
        """
        height, width = points.shape[-2:]
        field = self.displacement(indices, (height, width), seed=seed, epoch=epoch)
        return field.to(points.dtype).add_(points)

    def _augment(self, images: Tensor, *, seed: int, epoch: int, indices: Tensor) -> Tensor:
        return warp(images, ((self, seed),), epoch=epoch, indices=indices)


def _kernel_half_width(sigma: float) -> int:
    """Return the half width of the Gaussian in pixels: beyond 6 sigma it is below 2e-8."""
    return math.ceil(6.0 * sigma)


def _gaussian(sigma: float, half_width: int) -> Tensor:
    """Return a Gaussian of unit sum, float64, shape (2 * half_width + 1,)."""
    offsets = torch.arange(-half_width, half_width + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (offsets / sigma).square())
    return kernel / kernel.sum()


@functools.lru_cache(maxsize=32)
def _smoothing(sigma: float, side: int, device: torch.device) -> Tensor:
    """Return the smoothing matrix of one axis, whose rows have equal norms, shape (side, side)."""
    half_width = max(_kernel_half_width(sigma), side)
    kernel = _gaussian(sigma, half_width)
    positions = torch.arange(side)
    matrix = kernel[positions - positions.unsqueeze(1) + half_width]
    norm = kernel.square().sum().sqrt()
    matrix *= norm / matrix.square().sum(dim=1, keepdim=True).sqrt()
    return matrix.to(device)
