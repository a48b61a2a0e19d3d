"""Parts of tensors of a size for which a multi-tensor kernel fills a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

__all__ = ["TENSORS_PER_LAUNCH", "blocks"]

# One launch of an optimizer's multi-tensor kernel takes at most 36 parameters, each with gradient
# and two moments. One block of threads processes 65,536 elements of a tensor, and a GPU can run
# more than a hundred blocks at a time.
TENSORS_PER_LAUNCH: Final = 36
_MAX_PARTS: Final = 2 * TENSORS_PER_LAUNCH
_ELEMENTS_PER_BLOCK: Final = 65_536
_MIN_ELEMENTS: Final = 4_096


def blocks(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return views of parts of the tensors in the capture of a CUDA graph, else the tensors.

    An elementwise function, or a norm of norms, has the same result on the parts. In a capture the
    views are created once for all replays; in an eager step creating them takes longer than they
    save.

    Args:
        tensors: Contiguous tensors; a list with other ones is not divided.
    """
    given = list(tensors)
    on_cuda = bool(given) and given[0].device.type == "cuda"
    return cut(given) if on_cuda and torch.cuda.is_current_stream_capturing() else given


def cut(tensors: list[Tensor]) -> list[Tensor]:
    """Return views of parts of equal size, at most as many as two launches take.

    Lists of tensors with equal shapes are divided alike.
    """
    left = _MAX_PARTS - len(tensors)  # the last part of each tensor may be smaller
    if not tensors or left <= 0 or not all(tensor.is_contiguous() for tensor in tensors):
        return tensors
    size = max(_MIN_ELEMENTS, -(-sum(tensor.numel() for tensor in tensors) // left))
    size += -size % 4  # kernels load four float32 at a time from addresses that allow it
    if size >= _ELEMENTS_PER_BLOCK:
        return tensors
    return [part for tensor in tensors for part in torch.split(tensor.view(-1), size)]
