"""Mean and standard deviation of raw inputs."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mlpkit._checks import error_message

__all__ = ["check_statistic", "mean_and_std"]

_ROWS_AT_ONCE = 8192  # bounds the float64 copy of the inputs
_CANCELLATION = 1e-4  # of variance to squared mean; below, E[x^2] - E[x]^2 loses digits


def mean_and_std(inputs: Tensor) -> tuple[float, float]:
    """Return mean and standard deviation of all values, summed in float64; a constant has std 1.

    Raises:
        ValueError: If there is no value.
    """
    if not inputs.numel():
        raise ValueError(error_message("train", "one example or more", tuple(inputs.shape)))
    total = squares = 0.0
    if inputs.dtype == torch.uint8:  # from the count of each of the 256 values
        counts = torch.bincount(inputs.flatten(), minlength=256).double()
        values = torch.arange(256, dtype=torch.float64, device=inputs.device)
        total, squares = float(counts @ values), float(counts @ values.square())
    else:
        for chunk in torch.split(inputs, _ROWS_AT_ONCE):
            values = chunk.double()
            total += float(values.sum())
            squares += float(values.square().sum())
    mean = total / inputs.numel()
    variance = squares / inputs.numel() - mean * mean
    if inputs.dtype != torch.uint8 and variance < _CANCELLATION * mean * mean:
        variance = _variance_around(inputs, mean)
    std = math.sqrt(max(variance, 0.0))
    return mean, std if std > 0 else 1.0


def _variance_around(inputs: Tensor, mean: float) -> float:
    """Return the mean squared deviation from a mean; exactly 0 for a constant."""
    low, high, squares = math.inf, -math.inf, 0.0
    for chunk in torch.split(inputs, _ROWS_AT_ONCE):
        deviations = chunk.double() - mean
        low, high = min(low, float(deviations.min())), max(high, float(deviations.max()))
        squares += float(deviations.square().sum())
    return 0.0 if low == high else squares / inputs.numel()


def check_statistic(name: str, value: float | Tensor, features: int, like: Tensor) -> Tensor:
    """Return a mean or std as a new tensor of the dtype of ``like``: ``()`` or ``(features,)``.

    A number becomes a tensor on the device of ``like``, also if that is the meta device; its value
    is checked before. A tensor stays on its device.

    Raises:
        ValueError: If the shape does not fit, a number is not finite, or a std is not positive.
    """
    # with an explicit device, since torch.device("meta") may be the default
    device = value.device if isinstance(value, Tensor) else torch.device("cpu")
    tensor = torch.as_tensor(value, dtype=like.dtype, device=device).clone()
    shape = tuple(tensor.shape)
    if tensor.ndim > 0:
        tensor = tensor.flatten()
    if tensor.shape not in ((), (features,)):
        rule = f"one number or one for each of {features} features"
        raise ValueError(error_message(name, rule, shape))
    if tensor.is_meta:  # no values
        return tensor
    if not bool(tensor.isfinite().all()):
        raise ValueError(error_message(name, "finite", value))
    if name == "std" and not bool((tensor > 0).all()):
        cure = "leave constant features at std 1"
        raise ValueError(error_message(name, "positive", value, cure))
    return tensor if isinstance(value, Tensor) else tensor.to(like.device)
