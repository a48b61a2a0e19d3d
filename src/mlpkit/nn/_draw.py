"""Random numbers in place, from a generator on any device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["normal_", "uniform_"]


def normal_(tensor: Tensor, std: float, generator: torch.Generator | None) -> None:
    """Fill a tensor with normal numbers of mean 0; None is torch's global generator."""
    _fill(tensor, generator, lambda drawn: drawn.normal_(0.0, std, generator=generator))


def uniform_(tensor: Tensor, bound: float, generator: torch.Generator | None) -> None:
    """Fill a tensor with uniform numbers in [-bound, bound); None is torch's global generator."""
    _fill(tensor, generator, lambda drawn: drawn.uniform_(-bound, bound, generator=generator))


@torch.no_grad()
def _fill(
    tensor: Tensor, generator: torch.Generator | None, draw: Callable[[Tensor], Tensor]
) -> None:
    if tensor.is_meta:
        return  # no memory to fill; torch would import its decompositions, which takes seconds
    if generator is None or generator.device == tensor.device:
        draw(tensor)
    else:
        tensor.copy_(draw(torch.empty_like(tensor, device=generator.device)))
