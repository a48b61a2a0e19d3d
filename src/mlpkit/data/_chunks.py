"""A tensor a part at a time, so that the memory of a pass does not grow with the data."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from mlpkit.data._mapped_inputs import MappedInputs


def chunks(values: Tensor | MappedInputs, size: int) -> Iterator[Tensor]:
    """Yield consecutive rows, about ``size`` values at a time, and one row at least."""
    step = max(1, size // max(1, math.prod(values.shape[1:])))
    for start in range(0, len(values), step):
        stop = start + step
        yield values[start:stop] if isinstance(values, Tensor) else values.tensor(start, stop)


def content(values: Tensor) -> memoryview:
    """Return the content of a tensor on any device as bytes, in row-major order."""
    flat = values.detach().cpu().contiguous().view(-1)
    return flat.view(torch.uint8).numpy().data
