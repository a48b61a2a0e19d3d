"""Checks of the inputs that the layers for tables share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.fx import Proxy

from mlpkit._checks import Unquoted, error_message

__all__ = ["check_finite_rows", "check_last_axis", "check_rows", "device_for"]


def check_last_axis(x: Tensor, size: int) -> None:
    """Raise ValueError unless the last axis of ``x`` has the size; a symbolic trace has none."""
    given: object = x
    if not isinstance(given, Proxy) and (x.dim() == 0 or x.shape[-1] != size):
        raise ValueError(error_message("x", f"a tensor of shape (*, {size})", tuple(x.shape)))


def check_rows(inputs: object) -> Tensor:
    """Return training inputs if they are one row or more, ``(N, F)``."""
    if not isinstance(inputs, Tensor):
        cure = "torch.as_tensor(inputs) makes one"
        raise TypeError(error_message("inputs", "a tensor", inputs, cure))
    if inputs.ndim != 2 or not inputs.numel():
        rule = "of shape (N, features) with one example or more"
        raise ValueError(error_message("inputs", rule, tuple(inputs.shape)))
    if inputs.is_meta:
        raise ValueError(error_message("inputs", "on a device that holds values", "meta"))
    return inputs.detach()


def device_for(inputs: Tensor) -> torch.device:
    """Return the device of a module for training inputs: theirs, or meta if it is the default."""
    default = torch.get_default_device()
    return default if default.type == "meta" else inputs.device


def check_finite_rows(inputs: object) -> Tensor:
    """Return training inputs if they are one row or more, ``(N, F)``, of finite numbers."""
    rows = check_rows(inputs)
    if not bool(rows.isfinite().all()):
        cure = "replace missing values first"
        raise ValueError(error_message("inputs", "finite", Unquoted("NaN or infinity"), cure))
    return rows
