"""Multilayer perceptrons, their layers and activations, and tools that analyze them."""

from __future__ import annotations

import mlpkit.nn.backprop  # noqa: F401 - registers the hand-written gradients of MLP
from mlpkit._protocols import ParamGroup
from mlpkit.nn._affine import (
    HomogeneousLayer,
    HomogeneousNetwork,
    homogeneous,
    merge_affine,
)
from mlpkit.nn._config import MLPConfig
from mlpkit.nn._diagnostics import (
    ActivationStatistics,
    LayerStatistics,
    activation_statistics,
)
from mlpkit.nn._hidden_layer import HiddenLayer, HiddenLayers
from mlpkit.nn._init import (
    ActivationFunction,
    LayerScale,
    layer_scale,
    reset_linear_,
    second_moment,
    second_moment_gain,
)
from mlpkit.nn._mlp import MLP
from mlpkit.nn._norms import BatchNorm
from mlpkit.nn._options import InitName, MLPOptions, NormName
from mlpkit.nn._summary import Summary, SummaryRow
from mlpkit.nn.activations import (
    GEGLU,
    GLU,
    Activation,
    ActivationConfig,
    ActivationName,
    Maxout,
    PReLU,
    ReGLU,
    SwiGLU,
    activation_config,
    build_activation,
    contiguous_pieces,
    expansion,
)
from mlpkit.nn.tabular import (
    CategoryEmbedding,
    FeatureEmbedding,
    FeatureScaling,
    NumberEmbedding,
    OneHot,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
    RobustScaling,
    TabularMLP,
    TabularMLPConfig,
    quantile_edges,
)

__all__ = [
    "GEGLU",
    "GLU",
    "MLP",
    "Activation",
    "ActivationConfig",
    "ActivationFunction",
    "ActivationName",
    "ActivationStatistics",
    "BatchNorm",
    "CategoryEmbedding",
    "FeatureEmbedding",
    "FeatureScaling",
    "HiddenLayer",
    "HiddenLayers",
    "HomogeneousLayer",
    "HomogeneousNetwork",
    "InitName",
    "LayerScale",
    "LayerStatistics",
    "MLPConfig",
    "MLPOptions",
    "Maxout",
    "NormName",
    "NumberEmbedding",
    "OneHot",
    "PReLU",
    "ParamGroup",
    "PeriodicEmbedding",
    "PiecewiseLinearEmbedding",
    "ReGLU",
    "RobustScaling",
    "Summary",
    "SummaryRow",
    "SwiGLU",
    "TabularMLP",
    "TabularMLPConfig",
    "activation_config",
    "activation_statistics",
    "build_activation",
    "contiguous_pieces",
    "expansion",
    "homogeneous",
    "layer_scale",
    "merge_affine",
    "quantile_edges",
    "reset_linear_",
    "second_moment",
    "second_moment_gain",
]
