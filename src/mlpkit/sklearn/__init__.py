"""Estimators with the parameters, defaults and attributes of scikit-learn's multilayer perceptron.

A script that uses ``sklearn.neural_network.MLPClassifier`` or ``MLPRegressor`` needs to change one
import. The package needs scikit-learn: ``pip install 'mlpkit[sklearn]'``.
"""

from __future__ import annotations

from mlpkit.errors import MissingDependencyError

try:
    from sklearn.utils.validation import validate_data  # type: ignore[import-untyped]  # noqa: F401
except ImportError as error:
    raise MissingDependencyError(
        "mlpkit.sklearn needs scikit-learn 1.6 or newer, which cannot be imported; "
        "pip install 'mlpkit[sklearn]'"
    ) from error

from mlpkit.sklearn._classifier import MLPClassifier
from mlpkit.sklearn._regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
