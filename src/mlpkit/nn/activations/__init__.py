"""Todo."""

from __future__ import annotations

from mlpkit.nn.activations._gated import GEGLU, GLU, Gated, ReGLU, SwiGLU
from mlpkit.nn.activations._maxout import Maxout, contiguous_pieces
from mlpkit.nn.activations._prelu import PReLU
from mlpkit.nn.activations._registry import (
    Activation,
    ActivationConfig,
    ActivationName,
    _checked_name,
    activation_config,
    build_activation,
    expansion,
    is_known,
)

__all__ = [
    "GEGLU",
    "GLU",
    "Activation",
    "ActivationConfig",
    "ActivationName",
    "Gated",
    "Maxout",
    "PReLU",
    "ReGLU",
    "SwiGLU",
    "_checked_name",
    "activation_config",
    "build_activation",
    "contiguous_pieces",
    "expansion",
    "is_known",
]
