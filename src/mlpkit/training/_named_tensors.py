"""Parameters and buffers of a model by name."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["named_tensors"]


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return every parameter and buffer of a model by name, without copying."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}
