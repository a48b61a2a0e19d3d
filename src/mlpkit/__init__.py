"""mlpkit: multilayer perceptrons on PyTorch, from the layer to the trained classifier."""

from __future__ import annotations

from importlib.metadata import version

from mlpkit import data, nn, training
from mlpkit.classifier import SoftmaxClassifier
from mlpkit.nn import MLP, Maxout, MLPConfig, PReLU
from mlpkit.training import History, Trainer, TrainerConfig

__all__ = [
    "MLP",
    "History",
    "MLPConfig",
    "Maxout",
    "PReLU",
    "SoftmaxClassifier",
    "Trainer",
    "TrainerConfig",
    "__version__",
    "data",
    "nn",
    "training",
]

__version__ = version("mlpkit")
