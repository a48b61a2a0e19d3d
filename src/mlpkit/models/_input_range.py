"""Recognizes raw inputs that are in other units than the statistics of a model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from mlpkit.data.images import full_ink_value
from mlpkit.training.batches import BatchLike, BatchSource

__all__ = ["ObservedBatches", "RangeError", "find_range_error"]

_EXAMINED_ROWS = 1024  # bounds time and memory

# A std above 4 means a range far wider than 1, of which values between 0 and 1 are a small part.
_LEAST_STD = 4.0
_LEAST_VALUES = 16  # that are no integers; fewer may be close to one another by chance
_LARGEST_RMS = 30.0  # of standardized values; training inputs have 1
_LARGEST_PIXEL = 255.0


class RangeError(NamedTuple):
    """Whether inputs can be in the units of the training inputs.

    Attributes:
        message: What is wrong; None if nothing is.
        is_conclusive: Whether other inputs of this dtype need not be examined.
    """

    message: str | None
    is_conclusive: bool


def find_range_error(x: Tensor, mean: Tensor, std: Tensor) -> RangeError:
    """Compare raw inputs with the statistics of the training inputs.

    Only the units of pixels, 0 to 1 and 0 to 16 or 255, are distinguished. Columns of a table may
    have any values, so nothing is said of statistics that pixels cannot have.

    Args:
        x: Raw inputs, on any device, not empty.
        mean: Mean of the training inputs, ``()`` or ``(features,)``.
        std: Standard deviation of the training inputs, ``()`` or ``(features,)``.
    """
    if mean.is_meta or x.is_meta or x.is_complex() or torch.compiler.is_compiling():
        return RangeError(None, is_conclusive=False)
    rows = x[:: -(-len(x) // _EXAMINED_ROWS)] if x.ndim else x[None]
    values = rows.reshape(-1).to(torch.float32)
    low, high = (float(bound) for bound in torch.aminmax(values))
    means, stds = mean.detach().float(), std.detach().float()
    center, spread = float(means.mean()), float(stds.mean())
    largest = max(float(means.max()), float(stds.max()))
    if float(means.min()) < 0.0 or largest > _LARGEST_PIXEL:
        return RangeError(None, is_conclusive=True)
    trained = f"mean {center:.4g} and standard deviation {spread:.4g}"
    are_fractions = values != values.round()
    if x.is_floating_point() and -1.0 <= low < high <= 1.0 and spread > _LEAST_STD:
        if int(are_fractions.sum()) < _LEAST_VALUES:
            return RangeError(None, is_conclusive=False)
        cure = "pass raw inputs"
        with contextlib.suppress(ValueError):
            cure += f", for pixels between 0 and 1 x * {full_ink_value(means, stds):g}"
        return RangeError(
            f"x should be in the units of the training inputs ({trained}), got values between "
            f"{low:.4g} and {high:.4g}; {cure}",
            is_conclusive=True,
        )
    rms = float(((values - center) / spread).square().mean().sqrt())
    are_bytes = low >= 0.0 and high <= _LARGEST_PIXEL and not bool(are_fractions.any())
    if largest <= 1.0 and are_bytes and rms > _LARGEST_RMS:
        return RangeError(
            f"x should be in the units of the training inputs ({trained}), got values between "
            f"{low:.4g} and {high:.4g}; for a model of pixels between 0 and 1 pass x / 255",
            is_conclusive=True,
        )
    return RangeError(None, is_conclusive=low < high)


class ObservedBatches:
    """The batches of a source, whose inputs are shown to a function first.

    Args:
        source: The batches.
        observe: Called with the inputs of each batch.
    """

    def __init__(self, source: BatchSource, observe: Callable[[Tensor], None]) -> None:
        self._source = source
        self._observe = observe
        self.num_examples = source.num_examples
        self.fingerprint = source.fingerprint

    def __len__(self) -> int:
        return len(self._source)

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[BatchLike]:
        """Yield the batches of an epoch."""
        for batch in self._source.epoch(epoch, start=start):
            self._observe(batch.inputs)
            yield batch
