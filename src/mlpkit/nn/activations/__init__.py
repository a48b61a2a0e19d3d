"""Activations: the modules, their names and options, and how a layer gets one."""

from __future__ import annotations

from mlpkit.nn.activations._gated import GEGLU, GLU, Gated, ReGLU, SwiGLU
from mlpkit.nn.activations._maxout import Maxout, contiguous_pieces
from mlpkit.nn.activations._prelu import PReLU
from mlpkit.nn.activations._registry import (
    Activation,
    ActivationConfig,
    ActivationName,
    activation_config,
    build_activation,
    check_activation,
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
    "activation_config",
    "build_activation",
    "check_activation",
    "contiguous_pieces",
    "expansion",
    "is_known",
]
