"""from_sklearn: a fitted network of scikit-learn as a model of mlpkit."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mlpkit._checks import Unquoted, error_message
from mlpkit.models import MultilabelClassifier, Regressor, SoftmaxClassifier
from mlpkit.nn import MLP, ActivationName

__all__ = ["from_sklearn"]

_ACTIVATIONS: dict[str, ActivationName] = {
    "identity": "identity",
    "logistic": "sigmoid",
    "relu": "relu",
    "tanh": "tanh",
}


_KINDS = ("Classifier", "Regressor")
_RULE = (
    "a fitted MLPClassifier or MLPRegressor of scikit-learn, possibly after a StandardScaler in a "
    "pipeline or within a TransformedTargetRegressor"
)


def from_sklearn(
    estimator: object, *, dtype: torch.dtype = torch.float32
) -> SoftmaxClassifier | MultilabelClassifier | Regressor:
    r"""Convert a fitted network of scikit-learn to a model with the same outputs.

    An ``MLPClassifier`` becomes a :class:`mlpkit.SoftmaxClassifier`, or with several labels a
    :class:`mlpkit.MultilabelClassifier`. The class names are the elements of ``classes_`` converted
    by ``str``. For two classes, scikit-learn has one logistic output :math:`z`. It is converted to
    the logits :math:`-z/2` and :math:`z/2`, whose softmax is :math:`1 - \sigma(z)` and
    :math:`\sigma(z)`. An ``MLPRegressor`` becomes a :class:`mlpkit.Regressor`.

    For a pipeline of a ``StandardScaler`` and a network, the mean and scale of the scaler become
    the preprocessing of the model. For a ``TransformedTargetRegressor`` with a ``StandardScaler``
    as its transformer, they become ``target_mean`` and ``target_std``.

    Args:
        estimator: A fitted ``sklearn.neural_network.MLPClassifier`` or ``MLPRegressor``, a fitted
            ``sklearn.pipeline.Pipeline`` of a ``StandardScaler`` and one of them, or a fitted
            ``sklearn.compose.TransformedTargetRegressor`` of a regressor or such a pipeline.
        dtype: Floating-point dtype of the weights. scikit-learn computes in the dtype of its
            training data, usually float64.

    Raises:
        TypeError: If ``estimator`` is of another type.
        ValueError: If ``estimator`` is not fitted, has one class, or its outputs have an activation
            that no model has.

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
    found, inputs, targets, is_vector = _parts(estimator)
    weights = [torch.as_tensor(coefs).T for coefs in found.coefs_]
    biases = [torch.as_tensor(intercepts) for intercepts in found.intercepts_]
    if _is("sklearn.neural_network", "MLPRegressor", found):
        if found.out_activation_ != "identity":
            rule = "a regressor without an activation of its outputs"
            cure = "train it with the squared error"
            raise ValueError(error_message("estimator", rule, found.out_activation_, cure))
        return Regressor(
            _network(weights, biases, found.activation, dtype),
            target_mean=targets.mean,
            target_std=targets.scale,
            target_shape=() if is_vector else (found.n_outputs_,),
            mean=inputs.mean,
            std=inputs.scale,
        )
    names = [str(name) for name in found.classes_]
    if len(names) < 2:  # scikit-learn has an output for a second class, which it never predicts
        rule, cure = "fitted with two classes or more", "fit it on examples of every class"
        raise ValueError(error_message("estimator", rule, Unquoted(f"the class {names[0]}"), cure))
    if found.out_activation_ == "logistic" and found.n_outputs_ > 1:
        network = _network(weights, biases, found.activation, dtype)
        return MultilabelClassifier(network, classes=names, mean=inputs.mean, std=inputs.scale)
    if found.out_activation_ == "logistic":
        weights[-1] = torch.cat([-weights[-1] / 2, weights[-1] / 2])
        biases[-1] = torch.cat([-biases[-1] / 2, biases[-1] / 2])
    network = _network(weights, biases, found.activation, dtype)
    return SoftmaxClassifier(network, classes=names, mean=inputs.mean, std=inputs.scale)


class _Scaling(NamedTuple):
    """Mean and scale of a StandardScaler."""

    mean: Tensor | float = 0.0
    scale: Tensor | float = 1.0


class _Parts(NamedTuple):
    """A network of scikit-learn with the scaling around it.

    Attributes:
        network: The fitted ``MLPClassifier`` or ``MLPRegressor``; scikit-learn has no type hints.
        inputs: Scaling of the inputs.
        targets: Scaling of the targets.
        is_vector: Whether predictions have one axis.
    """

    network: Any
    inputs: _Scaling
    targets: _Scaling
    is_vector: bool


def _parts(estimator: object) -> _Parts:
    """Return the network and its scaling.

    Raises:
        TypeError: If the estimator is of another type.
        ValueError: If a part is not fitted.
    """
    found: Any = estimator
    inputs: _Scaling | None = None
    targets = _Scaling()
    is_vector: bool | None = None
    while True:
        is_pipeline = _is("sklearn.pipeline", "Pipeline", found) and len(found.steps) == 2
        if is_pipeline and inputs is None:
            scaler, found = (step for _, step in found.steps)
            inputs = _scaling(scaler, estimator)
        elif _is("sklearn.compose", "TransformedTargetRegressor", found) and is_vector is None:
            if not hasattr(found, "regressor_"):
                raise _not_fitted(estimator)
            is_vector = found._training_dim == 1
            targets = _scaling(found.transformer_, estimator)
            found = found.regressor_
        else:
            break
    if not any(_is("sklearn.neural_network", f"MLP{kind}", found) for kind in _KINDS):
        raise TypeError(error_message("estimator", _RULE, estimator))
    if not hasattr(found, "coefs_"):
        raise _not_fitted(estimator)
    if is_vector is None:
        is_vector = found.n_outputs_ == 1
    return _Parts(found, inputs or _Scaling(), targets, is_vector)


def _scaling(scaler: Any, estimator: object) -> _Scaling:
    """Return mean and scale of a fitted StandardScaler."""
    if not _is("sklearn.preprocessing", "StandardScaler", scaler):
        raise TypeError(error_message("estimator", _RULE, estimator))
    if not hasattr(scaler, "scale_"):
        raise _not_fitted(estimator)
    return _Scaling(
        torch.as_tensor(scaler.mean_) if scaler.with_mean else 0.0,
        torch.as_tensor(scaler.scale_) if scaler.with_std else 1.0,
    )


def _not_fitted(estimator: object) -> ValueError:
    return ValueError(error_message("estimator", "fitted", estimator, "call its fit first"))


def _is(module: str, name: str, value: object) -> bool:
    """Return whether a value is an instance of a class of scikit-learn, without importing it."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(value, getattr(loaded, name))


def _network(
    weights: list[Tensor], biases: list[Tensor], activation: str, dtype: torch.dtype
) -> MLP:
    """Return the network with these weights, ``(out_features, in_features)``, and biases."""
    network = MLP(
        weights[0].shape[1],
        [len(weight) for weight in weights[:-1]],
        len(weights[-1]),
        activation=_ACTIVATIONS[activation],
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
