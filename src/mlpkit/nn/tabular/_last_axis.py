"""The check of the number of features that all layers for tables share."""

from __future__ import annotations

from torch import Tensor
from torch.fx import Proxy

from mlpkit._checks import error_message

__all__ = ["check_last_axis"]


def check_last_axis(x: Tensor, size: int) -> None:
    """Raise ValueError unless the last axis of ``x`` has the size; a symbolic trace has none."""
    given: object = x
    if not isinstance(given, Proxy) and (x.dim() == 0 or x.shape[-1] != size):
        raise ValueError(error_message("x", f"a tensor of shape (*, {size})", tuple(x.shape)))
