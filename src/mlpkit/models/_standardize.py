"""Mean and standard deviation of raw inputs and of targets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor

from mlpkit._checks import check_choice, error_message
from mlpkit._devices import accumulator_dtype
from mlpkit.data import LabeledTensors

__all__ = [
    "Preprocessing",
    "Standardize",
    "check_statistic",
    "feature_mean_and_std",
    "find_remainder",
    "mean_and_std",
    "measure_inputs",
]

Standardize: TypeAlias = Literal["auto", "feature", "global"]

_VALUES_AT_ONCE = 2**16  # a float64 copy of so many stays in the cache
_ROUNDINGS = 2  # of a value, in relative spacings of its dtype
_NEGLIGIBLE = 1e-3  # of a standard deviation


class Preprocessing(NamedTuple):
    """What a model takes from its training inputs.

    Attributes:
        mean: Mean of the inputs: one number, or float64 on the CPU, ``(features,)``.
        std: Standard deviation, of the same type.
        input_shape: Shape of one example.
    """

    mean: float | Tensor
    std: float | Tensor
    input_shape: tuple[int, ...]


def measure_inputs(
    inputs: Tensor | LabeledTensors, standardize: Standardize | None, dtype: torch.dtype
) -> Preprocessing:
    """Return the mean and standard deviation of inputs, ``(N, ...)``, and the shape of one.

    A standard deviation that is 0 in ``dtype`` becomes 1.

    Args:
        inputs: The training inputs, or the examples that have them.
        standardize: ``"feature"`` measures each feature, ``"global"`` all values together,
            ``"auto"`` each feature of vectors, else all values; None is mean 0 and std 1.
        dtype: Data type of the weights.

    Raises:
        TypeError: If the inputs are complex numbers.
        ValueError: If ``standardize`` is none of these, there is no example, or an example has no
            axis, or an input is not finite, as inputs in files may be.
    """
    names = get_args(Standardize)
    how = None if standardize is None else check_choice("standardize", standardize, names)
    first = _rows(inputs, 0, 1)
    shape = tuple(first.shape[1:])
    if not shape:
        cure = "use inputs.unsqueeze(1) for one feature"
        rule = "of shape (N, ...) with one axis or more for an example"
        raise ValueError(error_message("train.inputs", rule, (len(inputs),), cure))
    if first.dtype.is_complex:
        cure = "pass real and imaginary parts as features, torch.view_as_real(inputs).flatten(1)"
        raise TypeError(error_message("train.inputs", "of real numbers", first.dtype, cure))
    if how is None:
        return Preprocessing(0.0, 1.0, shape)
    if how == "global" or (how == "auto" and len(shape) > 1):
        mean, std = mean_and_std(inputs)
        is_positive = float(torch.tensor(std, dtype=dtype, device="cpu")) > 0
        return Preprocessing(mean, std if is_positive else 1.0, shape)
    means, stds = feature_mean_and_std(inputs)
    return Preprocessing(means, torch.where(stds.to(dtype) > 0, stds, 1.0), shape)


def mean_and_std(inputs: Tensor | LabeledTensors) -> tuple[float, float]:
    """Return mean and standard deviation of all values, as of one feature; a constant has std 1.

    Raises:
        ValueError: If there is no value.
    """
    first = _first_row(inputs)
    if first.dtype != torch.uint8:
        mean, std = _mean_and_std(inputs, num_features=1)
        return float(mean), float(std)
    # from the count of each of the 256 values
    counts = torch.zeros(256, dtype=torch.int64, device=first.device)
    for chunk in _chunks(inputs):
        counts += torch.bincount(chunk.flatten(), minlength=256)
    values = torch.arange(256, dtype=torch.float64, device=first.device)
    number = len(inputs) * first.numel()
    exact = float(counts.double() @ values) / number
    variance = float(counts.double() @ values.square()) / number - exact * exact
    return exact, math.sqrt(variance) if variance > 0 else 1.0


def feature_mean_and_std(values: Tensor | LabeledTensors) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each feature, summed in float64 in two passes.

    The second pass sums the squared deviations from the mean, so a large mean does not cancel the
    variance. A constant feature has exactly its value as mean, and std 1. A feature of
    floating-point numbers that differ by rounding only counts as constant.

    Args:
        values: Values, ``(N, ...)``; the features of an example are flattened.

    Returns:
        Mean and standard deviation, float64, ``(features,)``, on the CPU.

    Raises:
        ValueError: If there is no value.
    """
    return _mean_and_std(values, num_features=_first_row(values).numel())


def _mean_and_std(values: Tensor | LabeledTensors, *, num_features: int) -> tuple[Tensor, Tensor]:
    """Return those of each feature, where the values are rows of features, one after another."""
    first = _first_row(values)
    wide = accumulator_dtype(first.device)
    count = len(values) * first.numel() // num_features
    low = high = first.detach().flatten()[:num_features].to(wide)
    total, rest, squares = (torch.zeros_like(low) for _ in range(3))
    for chunk in _chunks(values):
        part = chunk.detach().reshape(-1, num_features).to(wide)
        total += part.sum(0)
        lowest, highest = torch.aminmax(part, dim=0)
        low, high = torch.minimum(low, lowest), torch.maximum(high, highest)
    mean = total / count
    for chunk in _chunks(values):
        deviations = chunk.detach().reshape(-1, num_features).to(wide) - mean
        rest += deviations.sum(0)  # not 0, since the mean is rounded
        squares += deviations.square_().sum(0)
    std = (squares / count - (rest / count).square()).clamp_min(0).sqrt()
    is_constant = (low == high) | (std <= _rounding(first) * mean.abs())
    std = torch.where(is_constant, 1.0, std)
    mean = torch.where(low == high, low, mean)
    return mean.cpu().double(), std.cpu().double()


def _first_row(inputs: Tensor | LabeledTensors) -> Tensor:
    """Return the first input, ``(1, ...)``.

    Raises:
        ValueError: If there is no value.
    """
    first = _rows(inputs, 0, 1)
    if not first.numel():
        shape = (len(inputs), *first.shape[1:])
        raise ValueError(error_message("train", "one example or more", shape))
    return first


def _chunks(inputs: Tensor | LabeledTensors) -> Iterator[Tensor]:
    """Yield consecutive examples, so few that a copy of them is small."""
    size = max(1, _VALUES_AT_ONCE // max(1, _rows(inputs, 0, 1).numel()))
    if isinstance(inputs, LabeledTensors) and inputs.is_mapped:  # batches are checked
        yield from (batch.inputs for batch in inputs.batches(size, shuffle=False).epoch(0))
        return
    for start in range(0, len(inputs), size):
        yield _rows(inputs, start, start + size)


def _rows(inputs: Tensor | LabeledTensors, start: int, stop: int) -> Tensor:
    """Return some consecutive inputs; those in files are read now."""
    return inputs[start:stop] if isinstance(inputs, Tensor) else inputs[start:stop].inputs


def _rounding(values: Tensor) -> float:
    """Return the relative size of differences that are rounding: sums of shares, for instance."""
    if not values.is_floating_point():
        return 0.0
    return _ROUNDINGS * torch.finfo(values.dtype).eps


def check_statistic(
    name: str, value: float | Tensor, features: int, like: Tensor, *, each: str = "features"
) -> Tensor:
    """Return a mean or std as a new tensor of the dtype of ``like``: ``()`` or ``(features,)``.

    A number becomes a tensor on the device of ``like``, also if that is the meta device; its value
    is checked before. A tensor stays on its device.

    Args:
        name: Name of the argument.
        value: One number, or one for each feature.
        features: Number of features.
        like: A weight of the network.
        each: What the features are called in error messages.

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
        rule = f"one number or one for each of {features} {each}"
        raise ValueError(error_message(name, rule, shape))
    if tensor.is_meta:  # no values
        return tensor
    given = torch.as_tensor(value, device=device).detach().cpu().double()
    if not bool(tensor.isfinite().all()):
        is_finite = bool(given.isfinite().all())
        cure = f"scale the values, since {like.dtype} has none so large" if is_finite else None
        raise ValueError(error_message(name, "finite", value, cure))
    if name.endswith("std") and not bool((tensor > 0).all()):
        cure = "leave constant features at std 1"
        if bool((given > 0).all()):
            cure = f"scale the values, since {like.dtype} has none so small"
        raise ValueError(error_message(name, "positive", value, cure))
    return tensor if isinstance(value, Tensor) else tensor.to(like.device)


def find_remainder(exact: float | Tensor, rounded: Tensor, std: Tensor) -> Tensor | None:
    """Return what a mean has lost by rounding, or None if that is negligible for all features.

    Half precision has no remainder: its digits are too few for one, and it rounds the mean of
    ordinary pixels by more than a thousandth of their standard deviation.

    Args:
        exact: The mean as it was given, one number or one for each feature.
        rounded: The mean in the dtype of the weights.
        std: The standard deviation.

    Returns:
        ``exact - rounded``, with the shape, dtype and device of ``rounded``, and exactly 0 for the
        features where it is at most a thousandth of the standard deviation.
    """
    if rounded.is_meta or std.is_meta or rounded.dtype.itemsize < 4:  # meta: no values
        return None
    near = rounded.detach().cpu().double()
    given = exact.detach().cpu() if isinstance(exact, Tensor) else exact
    lost = torch.as_tensor(given, dtype=torch.float64, device="cpu").reshape(near.shape) - near
    lost = lost.masked_fill(lost.abs() <= _NEGLIGIBLE * std.detach().cpu().double(), 0.0)
    return lost.to(rounded) if bool(lost.isfinite().all() and lost.any()) else None
