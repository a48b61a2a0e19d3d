"""Tensors cut so that a kernel for lists of tensors keeps a GPU busy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

__all__ = ["OF_A_LAUNCH", "blocks"]

# One launch takes at most 36 tensors with three beside each, as an optimizer has, and gives every
# 65,536 elements of them to one block of threads, where a GPU has room for more than a hundred.
OF_A_LAUNCH: Final = 36
_MOST: Final = 2 * OF_A_LAUNCH
_OF_A_BLOCK: Final = 65_536
_SMALLEST: Final = 4_096


def blocks(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return views of parts of the tensors within the recording of a CUDA graph, else themselves.

    A function of each element, or a norm of norms, is the same of the parts. The views are made
    once for all replays; in a step of its own making them would take longer than they save.

    Args:
        tensors: Contiguous, or they are left whole.
    """
    whole = list(tensors)
    on_device = bool(whole) and whole[0].device.type == "cuda"
    return cut(whole) if on_device and torch.cuda.is_current_stream_capturing() else whole


def cut(tensors: list[Tensor]) -> list[Tensor]:
    """Return views of equal parts, as many as two launches take; lists of equal shapes alike."""
    left = _MOST - len(tensors)  # each tensor may end with a part that is not full
    if not tensors or left <= 0 or not all(tensor.is_contiguous() for tensor in tensors):
        return tensors
    size = max(_SMALLEST, -(-sum(tensor.numel() for tensor in tensors) // left))
    size += -size % 4  # the kernels read four float32 at a time where a part begins at a multiple
    if size >= _OF_A_BLOCK:
        return tensors
    return [part for tensor in tensors for part in torch.split(tensor.view(-1), size)]
