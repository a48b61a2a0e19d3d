"""Parameters, buffers and state of a model by name."""

from __future__ import annotations

import copy

from torch import Tensor, nn

__all__ = ["copied_state", "named_tensors"]


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return every parameter and buffer of a model by name, without copying."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def copied_state(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the ``state_dict`` of a model, also of extra states that are no tensors."""
    return {
        name: value.clone() if isinstance(value, Tensor) else copy.deepcopy(value)
        for name, value in model.state_dict().items()
    }
