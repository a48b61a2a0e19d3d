"""Conversion of fitted networks of scikit-learn."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np
import pytest
import torch

from mlpkit.interop import from_sklearn

exceptions = importlib.import_module("sklearn.exceptions")  # it has no type hints
neural_network = importlib.import_module("sklearn.neural_network")
preprocessing = importlib.import_module("sklearn.preprocessing")
pipeline = importlib.import_module("sklearn.pipeline")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 5)) * 3.0 + 1.0
TARGETS = {
    "binary": X[:, 0] > 1.0,
    "three names": np.array(["low", "middle", "high"])[np.digitize(X[:, 1], [-1.0, 2.0])],
}


def fit(estimator: Any, targets: object) -> Any:
    """Fit an estimator without convergence warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", exceptions.ConvergenceWarning)
        return estimator.fit(X, targets)


def network(activation: str = "relu", **options: object) -> Any:
    """Return an estimator whose weights move far from their initial values."""
    return neural_network.MLPClassifier(
        (7, 4), activation=activation, solver="lbfgs", max_iter=50, random_state=0, **options
    )


@pytest.mark.parametrize("activation", ["identity", "logistic", "relu", "tanh"])
@pytest.mark.parametrize("target", list(TARGETS))
def test_probabilities_are_scikit_learns(activation: str, target: str) -> None:
    """Probabilities agree to 1e-6 in float64 and 1e-5 in float32; the classes have their names."""
    estimator = fit(network(activation, alpha=1.0), TARGETS[target])
    expected = estimator.predict_proba(X)
    for dtype, atol in ((torch.float64, 1e-6), (torch.float32, 1e-5)):
        model = from_sklearn(estimator, dtype=dtype)
        assert model.classes == tuple(str(name) for name in estimator.classes_)
        found = model.predict_proba(torch.from_numpy(X))
        np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=atol)
        names = [model.classes[index] for index in model.predict(torch.from_numpy(X))]
        assert names == [str(name) for name in estimator.predict(X)]
    assert expected.std() > 0.05, "the inputs must matter"


def test_binary_logits_differ_by_the_logistic_output() -> None:
    """The two logits are minus and plus half of scikit-learn's single output."""
    estimator = fit(network(), TARGETS["binary"])
    logits = from_sklearn(estimator, dtype=torch.float64)(torch.from_numpy(X)).detach()
    positive = estimator.predict_proba(X)[:, 1]
    inside = (positive > 1e-6) & (positive < 1 - 1e-6)
    expected = np.log(positive[inside] / (1 - positive[inside]))
    difference = (logits[:, 1] - logits[:, 0]).numpy()[inside]
    np.testing.assert_allclose(difference, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("with_mean", "with_std"), [(True, True), (False, True), (True, False)])
def test_the_scaler_of_a_pipeline_is_converted(with_mean: bool, with_std: bool) -> None:
    """The scaler's mean and scale become the preprocessing."""
    scaler = preprocessing.StandardScaler(with_mean=with_mean, with_std=with_std)
    both = fit(pipeline.make_pipeline(scaler, network()), TARGETS["three names"])
    found = from_sklearn(both).predict_proba(torch.from_numpy(X))
    np.testing.assert_allclose(found.numpy(), both.predict_proba(X), rtol=0, atol=1e-4)


def test_invalid_estimators_raise() -> None:
    """Other types, estimators that are not fitted, and multilabel classifiers raise."""
    with pytest.raises(TypeError, match=r"estimator must be a fitted .*MLPClassifier, got 3"):
        from_sklearn(3)
    with pytest.raises(TypeError, match=r"estimator must be a fitted .*got MLPRegressor"):
        from_sklearn(neural_network.MLPRegressor())
    with pytest.raises(ValueError, match=r"estimator must be fitted, got MLPClassifier"):
        from_sklearn(neural_network.MLPClassifier())
    scaler, maxabs = preprocessing.StandardScaler(), preprocessing.MaxAbsScaler()
    classifier = neural_network.MLPClassifier()
    with pytest.raises(ValueError, match=r"estimator must be fitted, got Pipeline"):
        from_sklearn(pipeline.make_pipeline(scaler, classifier))
    with pytest.raises(TypeError, match=r"must be a pipeline of a StandardScaler"):
        from_sklearn(pipeline.make_pipeline(maxabs, classifier))
    labels = np.stack([X[:, 0] > 0, X[:, 1] > 0], axis=1)
    with pytest.raises(ValueError, match=r"estimator must be .* got 'a multilabel classifier"):
        from_sklearn(fit(network(), labels))
