"""mlpkit: multilayer perceptrons on PyTorch, from the layer to the trained model."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlpkit import data, nn, training
    from mlpkit.models import MultilabelClassifier, Regressor, SoftmaxClassifier
    from mlpkit.nn import MLP, Maxout, MLPConfig, PReLU
    from mlpkit.training import History, Trainer, TrainerConfig

__all__ = [
    "MLP",
    "History",
    "MLPConfig",
    "Maxout",
    "MultilabelClassifier",
    "PReLU",
    "Regressor",
    "SoftmaxClassifier",
    "Trainer",
    "TrainerConfig",
    "__version__",
    "data",
    "nn",
    "training",
]

__version__ = version("mlpkit")

# Loaded when first asked for: torch takes seconds, in which the command `mlpkit` must already be
# able to answer Ctrl-C, and a script that only wants `mlpkit.errors` need not wait for it.
_HOMES = {
    **dict.fromkeys(("MultilabelClassifier", "Regressor", "SoftmaxClassifier"), "mlpkit.models"),
    **dict.fromkeys(("MLP", "MLPConfig", "Maxout", "PReLU"), "mlpkit.nn"),
    **dict.fromkeys(("History", "Trainer", "TrainerConfig"), "mlpkit.training"),
}
_SUBPACKAGES = ("data", "nn", "training")

if not TYPE_CHECKING:  # where it is seen, every misspelled name passes for an attribute

    def __getattr__(name: str) -> object:
        """Return a public name, and keep it for the next time."""
        if name in _SUBPACKAGES:
            return importlib.import_module(f"mlpkit.{name}")
        if name not in _HOMES:
            raise AttributeError(f"module 'mlpkit' has no attribute {name!r}")
        found = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
        return found

    def __dir__() -> list[str]:
        """Return what there is, loaded or not."""
        return sorted({*globals(), *__all__})
