"""mlpkit: multilayer perceptrons on PyTorch, from the layer to the trained classifier."""

from __future__ import annotations

from importlib.metadata import version

from mlpkit import data, nn, training
from mlpkit.classifier import SoftmaxClassifier
from mlpkit.nn import MLP, Maxout, MLPConfig, PReLU

__all__ = [
    "MLP",
    "MLPConfig",
    "Maxout",
    "PReLU",
    "SoftmaxClassifier",
    "__version__",
    "data",
    "nn",
    "training",
]

__version__ = version("mlpkit")
