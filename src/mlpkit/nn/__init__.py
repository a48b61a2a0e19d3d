"""Multilayer perceptrons, their activations, and what shows how they work."""

from __future__ import annotations

from mlpkit.nn._activations import (
    Activation,
    ActivationConfig,
    ActivationName,
    activation_config,
    build_activation,
    expansion,
)
from mlpkit.nn._affine import (
    HomogeneousLayer,
    HomogeneousNetwork,
    homogeneous,
    merge_affine,
)
from mlpkit.nn._backpropagation import Backpropagation
from mlpkit.nn._config import InitName, MLPConfig, NormName
from mlpkit.nn._diagnostics import (
    ActivationStatistics,
    LayerStatistics,
    activation_statistics,
)
from mlpkit.nn._gated import GEGLU, GLU, ReGLU, SwiGLU
from mlpkit.nn._hidden import HiddenLayer, HiddenLayers
from mlpkit.nn._init import (
    ActivationFunction,
    LayerScale,
    layer_scale,
    reset_linear_,
    second_moment,
    second_moment_gain,
)
from mlpkit.nn._maxout import Maxout, contiguous_pieces
from mlpkit.nn._mlp import MLP, ParamGroup
from mlpkit.nn._norms import BatchNorm
from mlpkit.nn._prelu import PReLU
from mlpkit.nn._stacked_backpropagation import StackedBackpropagation
from mlpkit.nn._summary import Summary, SummaryRow

__all__ = [
    "GEGLU",
    "GLU",
    "MLP",
    "Activation",
    "ActivationConfig",
    "ActivationFunction",
    "ActivationName",
    "ActivationStatistics",
    "Backpropagation",
    "BatchNorm",
    "HiddenLayer",
    "HiddenLayers",
    "HomogeneousLayer",
    "HomogeneousNetwork",
    "InitName",
    "LayerScale",
    "LayerStatistics",
    "MLPConfig",
    "Maxout",
    "NormName",
    "PReLU",
    "ParamGroup",
    "ReGLU",
    "StackedBackpropagation",
    "Summary",
    "SummaryRow",
    "SwiGLU",
    "activation_config",
    "activation_statistics",
    "build_activation",
    "contiguous_pieces",
    "expansion",
    "homogeneous",
    "layer_scale",
    "merge_affine",
    "reset_linear_",
    "second_moment",
    "second_moment_gain",
]
