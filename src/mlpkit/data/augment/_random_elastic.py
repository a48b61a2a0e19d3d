"""Random elastic distortion of images."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mlpkit._checks import check_float
from mlpkit.data._random import derive, noise
from mlpkit.data.augment._warp import warp

_STREAM = 0xE1A5


@dataclass(frozen=True, kw_only=True, slots=True)
class RandomElastic:
    r"""Distorts each image like rubber, by a smooth random displacement of its own.

    Each pixel of the new image is read at its own place plus a displacement

    .. math::

        d_x = \alpha \, G_\sigma * u_x, \qquad d_y = \alpha \, G_\sigma * u_y,
        \qquad u_x, u_y \sim U(-1, 1) \text{ at every pixel},

    where :math:`G_\sigma` is a Gaussian whose values over all pixels add up to 1 (unit mass).
    Alpha is therefore the displacement in pixels before smoothing, not after: what is left has

    .. math::

        \operatorname{rms}(d_x) = \frac{\alpha}{\sqrt 3} \cdot \frac{1}{2 \sqrt \pi \, \sigma},

    1.4 pixels for (alpha 34, sigma 4) and 1.1 pixels for (alpha 37, sigma 5.5). This is the unit
    of torchvision's ``ElasticTransform`` and of the papers; a Gaussian normalized to a peak of 1
    would need an alpha smaller by :math:`2 \pi \sigma^2`.

    There is no noise outside the image. To make up for it, the smoothing is rescaled near the
    edges, so that the formula for the rms holds at every pixel. Bilinear interpolation; what comes
    from outside is 0.

    Args:
        alpha: Largest displacement before smoothing, in pixels, at least 0.
        sigma: Standard deviation of the Gaussian, in pixels, greater than 0.

    Shape:
        Images (n, H, W) or (n, channels, H, W), uint8 in [0, 255] or floating-point; shape and
        type are kept. Computed in float32 (float64 for float64); uint8 is rounded.

    Raises:
        TypeError: If an argument is not a number.
        ValueError: If one is out of range.

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
        object.__setattr__(self, "alpha", check_float("alpha", self.alpha, minimum=0.0))
        object.__setattr__(self, "sigma", check_float("sigma", self.sigma, above=0.0))

    @property
    def rms(self) -> float:
        """Root of the mean square of the displacement along one axis, in pixels."""
        kernel = _gaussian(self.sigma, _reach(self.sigma))
        return self.alpha / math.sqrt(3.0) * float(kernel.square().sum())

    def displacement(
        self, indices: Tensor, size: tuple[int, int], *, seed: int = 0, epoch: int = 0
    ) -> Tensor:
        """Return the field (d_x, d_y) of each image in pixels, float32, shape (n, 2, H, W).

        Args:
            indices: Position of each image in its data set, int64, shape (n,).
            size: Height and width in pixels.
            seed: Seed of the run.
            epoch: Epoch, counted from 0.
        """
        height, width = size
        field = noise(derive(seed, _STREAM, epoch), indices, 2 * height * width)
        field = field.view(-1, height, width).double()  # float32 may be rounded to TF32 in bmm
        # Matrix by matrix: one product for all rows may round otherwise in other batches.
        down = _smoothing(self.sigma, height, indices.device) * self.alpha
        across = _smoothing(self.sigma, width, indices.device).t()
        field = torch.bmm(field, across.expand(len(field), -1, -1))
        field = torch.bmm(down.expand(len(field), -1, -1), field).float()
        return field.view(-1, 2, height, width)

    def source_points(self, points: Tensor, *, seed: int, epoch: int, indices: Tensor) -> Tensor:
        """Return where each image is read for ``points``, which must be the pixel grid."""
        height, width = points.shape[-2:]
        field = self.displacement(indices, (height, width), seed=seed, epoch=epoch)
        return field.to(points.dtype).add_(points)

    def __call__(
        self, images: Tensor, *, seed: int = 0, epoch: int = 0, indices: Tensor | None = None
    ) -> Tensor:
        """Return the images, each distorted by its own field.

        Args:
            images: Shape (n, H, W) or (n, channels, H, W).
            seed: Seed of the run.
            epoch: Epoch, counted from 0.
            indices: Position of each image in its data set; None: 0 .. n - 1.
        """
        return warp(images, ((self, seed),), epoch=epoch, indices=indices)


def _reach(sigma: float) -> int:
    """Return how far the Gaussian matters, in pixels: beyond 6 sigma it is below 2e-8."""
    return math.ceil(6.0 * sigma)


def _gaussian(sigma: float, reach: int) -> Tensor:
    """Return the unit-mass Gaussian at -reach .. reach, float64."""
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (offsets / sigma).square())
    return kernel / kernel.sum()


@functools.lru_cache(maxsize=32)
def _smoothing(sigma: float, side: int, device: torch.device) -> Tensor:
    """Return the matrix that smooths along one axis, with rows of one norm, (side, side)."""
    reach = max(_reach(sigma), side)
    kernel = _gaussian(sigma, reach)
    positions = torch.arange(side)
    matrix = kernel[positions - positions.unsqueeze(1) + reach]
    norm = kernel.square().sum().sqrt()
    matrix *= norm / matrix.square().sum(dim=1, keepdim=True).sqrt()
    return matrix.to(device)
