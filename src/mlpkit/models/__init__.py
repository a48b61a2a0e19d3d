"""Networks together with their preprocessing: what people save, load and share."""

from __future__ import annotations

import mlpkit.models._backpropagation  # noqa: F401 - registers the hand-written gradients
from mlpkit.models._ensemble import Ensemble
from mlpkit.models._load_model import load_model
from mlpkit.models._multilabel_classifier import MultilabelClassifier
from mlpkit.models._presets import (
    NETWORK_DEFAULTS,
    TABULAR_DEFAULTS,
    NetworkDefaults,
    NetworkPreset,
    tabular_config,
)
from mlpkit.models._regressor import Regressor
from mlpkit.models._softmax_classifier import SoftmaxClassifier
from mlpkit.models._standardize import Standardize
from mlpkit.models._unpooled import Pooling, find_pooling, unpooled

__all__ = [
    "NETWORK_DEFAULTS",
    "TABULAR_DEFAULTS",
    "Ensemble",
    "MultilabelClassifier",
    "NetworkDefaults",
    "NetworkPreset",
    "Pooling",
    "Regressor",
    "SoftmaxClassifier",
    "Standardize",
    "find_pooling",
    "load_model",
    "tabular_config",
    "unpooled",
]
