"""Conversion of fitted networks of scikit-learn."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np
import pytest
import torch

from mlpkit import MultilabelClassifier, Regressor, SoftmaxClassifier
from mlpkit.interop import from_sklearn

exceptions = importlib.import_module("sklearn.exceptions")  # it has no type hints
neural_network = importlib.import_module("sklearn.neural_network")
preprocessing = importlib.import_module("sklearn.preprocessing")
pipeline = importlib.import_module("sklearn.pipeline")
compose = importlib.import_module("sklearn.compose")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 5)) * 3.0 + 1.0
TARGETS = {
    "binary": X[:, 0] > 1.0,
    "three names": np.array(["low", "middle", "high"])[np.digitize(X[:, 1], [-1.0, 2.0])],
}


def fit(estimator: Any, targets: object) -> Any:
    """Fit an estimator without warnings of convergence and of a column as target."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", exceptions.ConvergenceWarning)
        warnings.simplefilter("ignore", exceptions.DataConversionWarning)
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
        assert isinstance(model, SoftmaxClassifier)
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
    model = from_sklearn(both)
    assert isinstance(model, SoftmaxClassifier)
    found = model.predict_proba(torch.from_numpy(X))
    np.testing.assert_allclose(found.numpy(), both.predict_proba(X), rtol=0, atol=1e-4)


LABELS = np.stack([X[:, 0] > 0, X[:, 1] > 2, X[:, 2] * X[:, 3] > 0], axis=1)
NUMBERS = np.stack([X[:, 0] * 50 + 1000, X[:, 1] ** 2 * 1e-3, X[:, 2] + X[:, 3]], axis=1)


def regressor(activation: str = "relu", **options: object) -> Any:
    """Return a regressor whose weights move far from their initial values."""
    return neural_network.MLPRegressor(
        hidden_layer_sizes=(7, 4),
        activation=activation,
        solver="lbfgs",
        max_iter=50,
        random_state=0,
        **options,
    )


@pytest.mark.parametrize("activation", ["identity", "logistic", "relu", "tanh"])
@pytest.mark.parametrize("count", [2, 3])
def test_labels_are_scikit_learns(activation: str, count: int) -> None:
    """Probabilities and predictions of several labels, also after a scaler."""
    for estimator in (
        network(activation, alpha=1.0),
        pipeline.make_pipeline(preprocessing.StandardScaler(), network(activation, alpha=1.0)),
    ):
        fitted = fit(estimator, LABELS[:, :count].astype(int))
        model = from_sklearn(fitted, dtype=torch.float64)
        assert isinstance(model, MultilabelClassifier)
        assert model.classes == tuple(map(str, range(count)))
        inputs = torch.from_numpy(X)
        found, expected = model.predict_proba(inputs).numpy(), fitted.predict_proba(X)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
        near = np.abs(expected - 0.5) > 1e-6
        predicted = model.predict(inputs).numpy()
        assert np.array_equal(predicted[near], fitted.predict(X).astype(bool)[near])


@pytest.mark.parametrize("targets", [NUMBERS[:, 0], NUMBERS[:, :1], NUMBERS], ids=["N", "N1", "N3"])
@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("outer", ["plain", "pipeline", "targets", "both", "targets of a pipeline"])
def test_predictions_of_a_regressor_are_scikit_learns(
    targets: np.ndarray[Any, np.dtype[np.float64]], outer: str, *, inner: bool
) -> None:
    """With a scaler of the inputs, of the targets, or both; in float64 to 1e-6 of their spread."""
    estimator = regressor("tanh" if inner else "relu", alpha=0.1)
    scaler = preprocessing.StandardScaler
    if outer == "targets of a pipeline":
        estimator = pipeline.make_pipeline(scaler(), estimator)
    if outer in ("targets", "both", "targets of a pipeline"):
        estimator = compose.TransformedTargetRegressor(estimator, transformer=scaler())
    if outer in ("pipeline", "both"):
        estimator = pipeline.make_pipeline(scaler(), estimator)
    fitted = fit(estimator, targets)
    expected = fitted.predict(X)
    for dtype, tolerance in ((torch.float64, 1e-6), (torch.float32, 1e-3)):
        model = from_sklearn(fitted, dtype=dtype)
        assert isinstance(model, Regressor)
        found = model.predict(torch.from_numpy(X)).double().numpy()
        assert found.shape == expected.shape
        atol = tolerance * targets.std(axis=0)
        assert (np.abs(found - expected) <= atol + 1e-9).all()


def test_invalid_estimators_raise() -> None:
    """Other types, estimators that are not fitted, and multilabel classifiers raise."""
    with pytest.raises(TypeError, match=r"estimator must be a fitted .*MLPClassifier or .*got 3"):
        from_sklearn(3)
    for unfitted in (neural_network.MLPRegressor(), neural_network.MLPClassifier()):
        with pytest.raises(ValueError, match=r"estimator must be fitted, got MLP.*call its fit"):
            from_sklearn(unfitted)
    scaler, maxabs = preprocessing.StandardScaler(), preprocessing.MaxAbsScaler()
    classifier = neural_network.MLPClassifier()
    with pytest.raises(ValueError, match=r"estimator must be fitted, got Pipeline"):
        from_sklearn(pipeline.make_pipeline(scaler, classifier))
    of_targets = compose.TransformedTargetRegressor(regressor(), transformer=scaler)
    with pytest.raises(ValueError, match=r"estimator must be fitted, got TransformedTarget"):
        from_sklearn(of_targets)
    rule = r"estimator must be a fitted .* possibly after a StandardScaler in a pipeline"
    others = [
        pipeline.make_pipeline(maxabs, classifier),
        fit(compose.TransformedTargetRegressor(regressor(), transformer=maxabs), NUMBERS),
        fit(compose.TransformedTargetRegressor(regressor()), NUMBERS),
        fit(pipeline.make_pipeline(scaler, pipeline.make_pipeline(scaler, regressor())), NUMBERS),
    ]
    for other in others:
        with pytest.raises(TypeError, match=rule):
            from_sklearn(other)


def test_a_classifier_of_one_class_is_refused() -> None:
    """It has the weights of one of two outputs, but never predicts the second class."""
    fitted = fit(neural_network.MLPClassifier((4,), max_iter=5), np.zeros(len(NUMBERS), int))
    with pytest.raises(ValueError, match=r"estimator must be fitted with two classes .* class 0;"):
        from_sklearn(fitted)


def test_a_regressor_with_positive_outputs_is_refused() -> None:
    """Its outputs are exp(z), which no activation of mlpkit is."""
    estimator = neural_network.MLPRegressor(hidden_layer_sizes=(4,), max_iter=5)
    if "loss" not in estimator.get_params():
        pytest.skip("this version of scikit-learn has the squared error only")
    fitted = fit(estimator.set_params(loss="poisson"), np.abs(NUMBERS[:, 0]))
    with pytest.raises(ValueError, match="estimator must be a regressor without an activation"):
        from_sklearn(fitted)
