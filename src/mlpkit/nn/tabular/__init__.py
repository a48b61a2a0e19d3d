"""Layers for tables: scaling, embeddings of numbers and of categories."""

from __future__ import annotations

from mlpkit.nn.tabular._category_embedding import CategoryEmbedding
from mlpkit.nn.tabular._feature_embedding import FeatureEmbedding, NumberEmbedding
from mlpkit.nn.tabular._feature_scaling import FeatureScaling
from mlpkit.nn.tabular._one_hot import OneHot
from mlpkit.nn.tabular._periodic_embedding import PeriodicEmbedding
from mlpkit.nn.tabular._piecewise_linear_embedding import PiecewiseLinearEmbedding, quantile_edges
from mlpkit.nn.tabular._robust_scaling import RobustScaling
from mlpkit.nn.tabular._tabular_config import TabularMLPConfig
from mlpkit.nn.tabular._tabular_mlp import TabularMLP

__all__ = [
    "CategoryEmbedding",
    "FeatureEmbedding",
    "FeatureScaling",
    "NumberEmbedding",
    "OneHot",
    "PeriodicEmbedding",
    "PiecewiseLinearEmbedding",
    "RobustScaling",
    "TabularMLP",
    "TabularMLPConfig",
    "quantile_edges",
]
