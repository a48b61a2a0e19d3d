"""Average pooling of the images of a data set."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from mlpkit._checks import check_int, error_message
from mlpkit.data._labeled_tensors import LabeledTensors
from mlpkit.data.augment import image_planes

# Images are converted to float32 in chunks of this many pixels, which bounds temporary memory.
_CHUNK_PIXELS = 1 << 20


@torch.no_grad()
def avg_pool(data: LabeledTensors, kernel_size: int) -> LabeledTensors:
    r"""Return a data set with each block of pixels averaged to one pixel.

    .. math:: y_{ij} = \frac{1}{k^2} \sum_{a=0}^{k-1} \sum_{b=0}^{k-1} x_{ki+a,\; kj+b}

    Training on fewer pixels is faster, because the first layer is smaller, and 14 x 14 pixels show
    a digit as well as 28 x 28. :func:`mlpkit.models.unpooled` converts the trained classifier to an
    equivalent classifier of full-resolution images.

    Args:
        data: Examples whose inputs are images.
        kernel_size: Height and width :math:`k` of a block in pixels, at least 1. It must divide the
            height and the width of the images. 1 returns ``data`` itself.

    Shape:
        - Inputs of ``data``: (N, H, W) or (N, channels, H, W), uint8 or floating-point.
        - Inputs of the result: (N, H / k, W / k) or (N, channels, H / k, W / k). Floating-point
          dtypes are preserved; uint8 becomes float32, so that the means are not rounded.

    Raises:
        TypeError: If the inputs are neither uint8 nor floating-point, or ``kernel_size`` is not an
            integer.
        ValueError: If the inputs are not images, or ``kernel_size`` does not divide their height
            and width.

    Example:
        >>> from mlpkit.data import avg_pool, digits
        >>> avg_pool(digits().test, 2)
        LabeledTensors(360 examples of float32 (4, 4), 10 classes, on cpu)
    """
    kernel = check_int("kernel_size", kernel_size, minimum=1)
    images = data.inputs
    planes = image_planes(images)
    height, width = planes.shape[-2:]
    if height % kernel or width % kernel:
        rule = f"a divisor of the height and width of the images ({height} x {width})"
        raise ValueError(error_message("kernel_size", rule, kernel))
    if kernel == 1:
        return data
    compute_dtype = torch.promote_types(planes.dtype, torch.float32)
    dtype = planes.dtype if planes.is_floating_point() else compute_dtype
    size = (height // kernel, width // kernel)
    pooled = planes.new_empty(*planes.shape[:-2], *size, dtype=dtype)
    chunk = max(1, _CHUNK_PIXELS // max(1, planes.shape[1] * height * width))
    for part, result in zip(torch.split(planes, chunk), torch.split(pooled, chunk), strict=True):
        result.copy_(F.avg_pool2d(part.to(compute_dtype), kernel))
    pooled = pooled.view(*images.shape[:-2], *size)
    return LabeledTensors(pooled, data.targets, data.classes, weights=data.weights)
