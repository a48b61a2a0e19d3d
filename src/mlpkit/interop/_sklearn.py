"""from_sklearn: a fitted MLPClassifier of scikit-learn as a SoftmaxClassifier."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor

from mlpkit._checks import error_message
from mlpkit.models import SoftmaxClassifier
from mlpkit.nn import MLP, ActivationName

__all__ = ["from_sklearn"]

_ACTIVATIONS: dict[str, ActivationName] = {
    "identity": "identity",
    "logistic": "sigmoid",
    "relu": "relu",
    "tanh": "tanh",
}


def from_sklearn(estimator: object, *, dtype: torch.dtype = torch.float32) -> SoftmaxClassifier:
    r"""Convert a fitted ``MLPClassifier`` of scikit-learn to a classifier with the same outputs.

    For two classes, scikit-learn has one logistic output :math:`z`. It is converted to the logits
    :math:`-z/2` and :math:`z/2`, whose softmax is :math:`1 - \sigma(z)` and :math:`\sigma(z)`. The
    class names are the elements of ``classes_`` converted by ``str``. For a pipeline of a
    ``StandardScaler`` and an ``MLPClassifier``, the mean and scale of the scaler become the
    preprocessing of the classifier.

    Args:
        estimator: A fitted ``sklearn.neural_network.MLPClassifier``, or a fitted
            ``sklearn.pipeline.Pipeline`` of a ``StandardScaler`` and an ``MLPClassifier``.
        dtype: Floating-point dtype of the weights. scikit-learn computes in the dtype of its
            training data, usually float64.

    Raises:
        TypeError: If ``estimator`` is of another type.
        ValueError: If ``estimator`` is not fitted, or is a multilabel classifier, whose outputs are
            not a distribution.

    Example:
        >>> import numpy as np
        >>> import torch
        >>> from sklearn.neural_network import MLPClassifier
        >>> from mlpkit.interop import from_sklearn
        >>> x = np.random.default_rng(0).normal(size=(60, 4))
        >>> estimator = MLPClassifier((8,), solver="lbfgs", random_state=0).fit(x, x[:, 0] > 0)
        >>> model = from_sklearn(estimator)
        >>> model.classes
        ('False', 'True')
        >>> ours = model.predict_proba(torch.from_numpy(x)).numpy()
        >>> bool(np.abs(ours - estimator.predict_proba(x)).max() < 1e-5)
        True
    """
    # Any: scikit-learn has no type hints
    found: Any = estimator
    mean: Tensor | float = 0.0
    std: Tensor | float = 1.0
    if _is("sklearn.pipeline", "Pipeline", found) and len(found.steps) == 2:
        scaler, found = (step for _, step in found.steps)
        if not _is("sklearn.preprocessing", "StandardScaler", scaler):
            rule = "a pipeline of a StandardScaler and an MLPClassifier"
            raise TypeError(error_message("estimator", rule, estimator))
        if not hasattr(scaler, "scale_"):
            raise ValueError(error_message("estimator", "fitted", estimator, "call its fit first"))
        mean = torch.as_tensor(scaler.mean_) if scaler.with_mean else 0.0
        std = torch.as_tensor(scaler.scale_) if scaler.with_std else 1.0
    if not _is("sklearn.neural_network", "MLPClassifier", found):
        rule = "a fitted sklearn.neural_network.MLPClassifier"
        raise TypeError(error_message("estimator", rule, estimator))
    if not hasattr(found, "coefs_"):
        raise ValueError(error_message("estimator", "fitted", estimator, "call its fit first"))
    return SoftmaxClassifier(
        _network(found, dtype), classes=[str(name) for name in found.classes_], mean=mean, std=std
    )


def _is(module: str, name: str, value: object) -> bool:
    """Return whether a value is an instance of a class of scikit-learn, without importing it."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(value, getattr(loaded, name))


def _network(estimator: Any, dtype: torch.dtype) -> MLP:
    weights = [torch.as_tensor(coefs).T for coefs in estimator.coefs_]
    biases = [torch.as_tensor(intercepts) for intercepts in estimator.intercepts_]
    is_binary = estimator.out_activation_ == "logistic" and len(estimator.classes_) == 2
    if estimator.out_activation_ == "logistic":
        if not (is_binary and estimator.n_outputs_ == 1):
            rule = "a classifier with one label per example"
            found = f"a multilabel classifier with {estimator.n_outputs_} outputs"
            raise ValueError(error_message("estimator", rule, found))
        weights[-1] = torch.cat([-weights[-1] / 2, weights[-1] / 2])
        biases[-1] = torch.cat([-biases[-1] / 2, biases[-1] / 2])
    network = MLP(
        weights[0].shape[1],
        [len(weight) for weight in weights[:-1]],
        len(weights[-1]),
        activation=_ACTIVATIONS[estimator.activation],
        dtype=dtype,
        device="cpu",
        generator=torch.Generator().manual_seed(0),  # the initial weights are replaced
    )
    assert network.head is not None, "out_features is given"
    linears = [*(layer.linear for layer in network.layers), network.head]
    with torch.no_grad():
        for linear, weight, bias in zip(linears, weights, biases, strict=True):
            linear.weight.copy_(weight)
            linear.bias.copy_(bias)
    return network
