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

# These are imported when they are first used: importing torch takes seconds. The command `mlpkit`
# must react to Ctrl-C before, and a script that imports only `mlpkit.errors` does not need torch.
_HOMES = {
    **dict.fromkeys(("MultilabelClassifier", "Regressor", "SoftmaxClassifier"), "mlpkit.models"),
    **dict.fromkeys(("MLP", "MLPConfig", "Maxout", "PReLU"), "mlpkit.nn"),
    **dict.fromkeys(("History", "Trainer", "TrainerConfig"), "mlpkit.training"),
}
_SUBPACKAGES = ("data", "nn", "training")

if not TYPE_CHECKING:  # a type checker that sees __getattr__ accepts every misspelled name

    def __getattr__(name: str) -> object:
        """Return a public name, and store it, so that this function is called once for each."""
        if name in _SUBPACKAGES:
            return importlib.import_module(f"mlpkit.{name}")
        if name not in _HOMES:
            raise AttributeError(f"module 'mlpkit' has no attribute {name!r}")
        found = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
        return found

    def __dir__() -> list[str]:
        """Return all names, including those that have not been imported yet."""
        return sorted({*globals(), *__all__})
