"""Pictures of fewer pixels, each the mean of a block."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from mlpkit._checks import check_int, error_message
from mlpkit.data._labeled_tensors import LabeledTensors
from mlpkit.data.augment import image_planes

# So many pixels at a time are float32: what is made on the way stays small beside the pictures.
_PIXELS_AT_ONCE = 1 << 20


@torch.no_grad()
def avg_pool(data: LabeledTensors, kernel_size: int) -> LabeledTensors:
    r"""Return the examples with every block of pixels averaged to one.

    .. math:: y_{ij} = \frac{1}{k^2} \sum_{a=0}^{k-1} \sum_{b=0}^{k-1} x_{ki+a,\; kj+b}

    A network learns faster from fewer pixels: the first layer is smaller, and 14 x 14 pixels show a
    digit as well as 28 x 28. :meth:`mlpkit.SoftmaxClassifier.unpooled` makes what was trained on
    them a classifier of whole pictures.

    Args:
        data: The examples, whose inputs are pictures.
        kernel_size: Height and width :math:`k` of a block, in pixels, at least 1; it divides both
            sides of the pictures. 1 returns ``data``.

    Shape:
        Inputs (N, H, W) or (N, channels, H, W), uint8 or floating-point; afterwards
        (N, H / k, W / k) or (N, channels, H / k, W / k), floating-point as before, and float32
        for uint8, where the mean would be rounded.

    Raises:
        TypeError: If the inputs are of another type.
        ValueError: If they are no pictures, or ``kernel_size`` does not divide their sides.

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
        rule = f"a divisor of both sides of the pictures ({height} x {width})"
        raise ValueError(error_message("kernel_size", rule, kernel))
    if kernel == 1:
        return data
    wide = torch.promote_types(planes.dtype, torch.float32)
    kept = planes.dtype if planes.is_floating_point() else wide
    sides = (height // kernel, width // kernel)
    pooled = planes.new_empty(*planes.shape[:-2], *sides, dtype=kept)
    at_once = max(1, _PIXELS_AT_ONCE // max(1, planes.shape[1] * height * width))
    for part, result in zip(
        torch.split(planes, at_once), torch.split(pooled, at_once), strict=True
    ):
        result.copy_(F.avg_pool2d(part.to(wide), kernel))
    pooled = pooled.view(*images.shape[:-2], *sides)
    return LabeledTensors(pooled, data.targets, data.classes, weights=data.weights)
