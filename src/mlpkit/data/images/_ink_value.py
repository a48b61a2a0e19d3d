"""The raw pixel value of full ink, inferred from the mean and standard deviation of a data set."""

from __future__ import annotations

from torch import Tensor

from mlpkit._checks import error_message

_COMMON_VALUES = (1.0, 16.0, 255.0)  # floating-point images, the 8x8 digits, uint8 images


def full_ink_value(mean: Tensor, std: Tensor, *, largest: float = 0.0) -> float:
    """Return the smallest of 1, 16 and 255 that can be the raw value of full ink.

    Values in [0, M] with mean m have a variance of at most m (M - m), so M is at least
    m + s^2 / m (Bhatia and Davis, 2000). If every mean is 0, inputs are only divided by ``std``;
    a ``std`` of 16 or 255 is then taken as the value of full ink.

    Args:
        mean: Mean of each raw input, or one mean for all of them.
        std: Standard deviation of each raw input, or one for all; broadcasts with ``mean``.
        largest: Largest raw value that is known to occur; 0 if none is known.

    Raises:
        ValueError: If the arguments do not determine the value.
    """
    mean, std = mean.double().cpu(), std.double().cpu()
    bounds = [largest]
    if bool((mean > 0).any()):
        bound = mean + std.square() / mean
        bounds.append(float(bound[(mean > 0).expand_as(bound)].max()))
    elif float(std.max()) in _COMMON_VALUES[1:]:
        bounds.append(float(std.max()))
    for value in _COMMON_VALUES:
        if 0 < max(bounds) <= value * 1.001:
            return value
    cure = "pass it, for example 255 for uint8 images: mean and std do not determine it"
    raise ValueError(error_message("ink", "the raw value of full ink", None, cure))
