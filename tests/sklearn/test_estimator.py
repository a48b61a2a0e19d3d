"""Fits equal those of scikit-learn; attributes, copies and continued fits."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
from typing import TypeAlias

import joblib  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse as sp
import sklearn.neural_network as theirs  # type: ignore[import-untyped]
import torch
from sklearn.base import clone  # type: ignore[import-untyped]
from sklearn.datasets import load_iris  # type: ignore[import-untyped]
from sklearn.exceptions import NotFittedError  # type: ignore[import-untyped]

import mlpkit
from mlpkit.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

Options: TypeAlias = dict[str, object]
Numbers: TypeAlias = npt.NDArray[np.float64]

X, SPECIES = load_iris(return_X_y=True)
TARGETS = {
    "one class": np.zeros(150, dtype=int),
    "two classes": SPECIES == 1,
    "three classes": np.array(["setosa", "versicolor", "virginica"])[SPECIES],
    "labels": np.column_stack([SPECIES == 1, SPECIES > 0]).astype(int),
    "number": X[:, 0],
    "numbers": X[:, :2],
}
WEIGHTS = np.linspace(0.0, 2.0, len(X))
FITS: list[Options] = [
    {"solver": "adam"},
    {"solver": "adam", "batch_size": 40, "activation": "tanh", "alpha": 1.0},
    {"solver": "adam", "shuffle": False, "batch_size": 40, "hidden_layer_sizes": (5, 4)},
    {"solver": "adam", "early_stopping": True, "n_iter_no_change": 3},
    {"solver": "sgd", "shuffle": False, "batch_size": 40, "activation": "logistic"},
    {"solver": "sgd", "learning_rate": "invscaling", "momentum": 0.5},
    {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 1},
    {"solver": "sgd", "nesterovs_momentum": False, "activation": "identity"},
    {"solver": "lbfgs", "max_iter": 10},
]


def has_sample_weight() -> bool:
    """Return whether scikit-learn's MLP has weights, which it has since 1.7."""
    return "sample_weight" in inspect.signature(theirs.MLPClassifier.fit).parameters


PAIRS = [
    pytest.param(
        options,
        target,
        id=f"{options}-{target}",
        marks=[pytest.mark.long] if row % 3 and target not in ("three classes", "numbers") else [],
    )
    for row, options in enumerate(FITS)
    for target in TARGETS
]


@pytest.mark.parametrize(("options", "target"), PAIRS)
def test_a_fit_is_that_of_scikit_learn(options: Options, target: str) -> None:
    """With the same seed, weights and loss curve agree up to rounding."""
    y = TARGETS[target]
    kind = "MLPRegressor" if target.startswith("number") else "MLPClassifier"
    options = {"hidden_layer_sizes": 6, "max_iter": 15, "random_state": 2} | options
    if "early_stopping" in options and target == "three classes":
        y = SPECIES  # early stopping with string labels is an error in scikit-learn before 1.9
    expected = getattr(theirs, kind)(**options).fit(X, y)
    found = {"MLPClassifier": MLPClassifier, "MLPRegressor": MLPRegressor}[kind]()
    found.set_params(**options).fit(X, y)
    assert_equal(found, expected)
    if kind == "MLPRegressor":
        np.testing.assert_allclose(found.predict(X), expected.predict(X), rtol=1e-8)
    else:
        np.testing.assert_array_equal(found.predict(X), expected.predict(X))
        probabilities = expected.predict_proba(X)
        np.testing.assert_allclose(found.predict_proba(X), probabilities, rtol=1e-8)
        logarithms = expected.predict_log_proba(X)
        np.testing.assert_allclose(found.predict_log_proba(X), logarithms, rtol=1e-8, atol=1e-12)


def assert_equal(found: object, expected: object) -> None:
    """Assert that the fitted attributes of two estimators agree up to rounding."""
    for name in ("coefs_", "intercepts_"):
        pairs = zip(getattr(found, name), getattr(expected, name), strict=True)
        for mine, other in pairs:
            np.testing.assert_allclose(mine, other, rtol=1e-7, atol=1e-10)
            assert mine.dtype == other.dtype
    names = ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_")
    for name in names:
        assert getattr(found, name) == getattr(expected, name)
    curves = ("loss_", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_")
    for name in curves:
        assert hasattr(found, name) == hasattr(expected, name)
        mine, other = getattr(found, name, None), getattr(expected, name, None)
        assert mine == (None if other is None else pytest.approx(other, rel=1e-8))


@pytest.mark.skipif(not has_sample_weight(), reason="since scikit-learn 1.7")
@pytest.mark.parametrize("target", ["three classes", "labels", "numbers"])
@pytest.mark.parametrize("options", [FITS[1], FITS[3], FITS[4], FITS[8]], ids=str)
def test_a_weighted_fit_is_that_of_scikit_learn(options: Options, target: str) -> None:
    y = TARGETS[target]
    kind = "MLPRegressor" if target.startswith("number") else "MLPClassifier"
    options = {"hidden_layer_sizes": 6, "max_iter": 15, "random_state": 2} | options
    expected = getattr(theirs, kind)(**options).fit(X, y, sample_weight=WEIGHTS)
    found = {"MLPClassifier": MLPClassifier, "MLPRegressor": MLPRegressor}[kind]()
    found.set_params(**options).fit(X, y, sample_weight=WEIGHTS)
    assert_equal(found, expected)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_a_stream_is_that_of_scikit_learn(solver: str) -> None:
    y = TARGETS["three classes"]
    classes = np.unique(y)
    expected = theirs.MLPClassifier(5, solver=solver, random_state=0, batch_size=20)
    found = MLPClassifier(5, solver=solver, random_state=0, batch_size=20)
    for part in range(4):
        rows = slice(part * 30, part * 30 + 40)
        expected.partial_fit(X[rows], y[rows], classes=classes)
        found.partial_fit(X[rows], y[rows], classes=classes if part == 0 else None)
        assert_equal(found, expected)


@pytest.mark.parametrize("changed", ["alpha", "batch_size", "learning_rate", "power_t", "solver"])
def test_parameters_that_change_in_a_stream_have_the_effect_of_scikit_learn(changed: str) -> None:
    """The solver of the first call keeps its learning rate; other parameters apply at once."""
    options: Options = {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1}
    expected = theirs.MLPClassifier(5, random_state=0).set_params(**options)
    found = MLPClassifier(5, random_state=0).set_params(**options)
    values: Options = {"alpha": 9.0, "batch_size": 20, "learning_rate": "constant", "power_t": 0.1}
    for one in (found, expected):
        one.partial_fit(X, SPECIES, classes=[0, 1, 2])
        one.set_params(**{changed: values.get(changed, "adam")})
        one.partial_fit(X, SPECIES).partial_fit(X, SPECIES)
    assert_equal(found, expected)


def test_weights_that_are_given_are_those_of_the_fit() -> None:
    """Assigned arrays are copied into the network, for predictions and for a stream."""
    regressor = MLPRegressor(hidden_layer_sizes=3, random_state=0).partial_fit(X, X[:, 0])
    other = MLPRegressor(hidden_layer_sizes=3, random_state=1).partial_fit(X, X[:, 0])
    other.coefs_ = [coefs.copy() for coefs in regressor.coefs_]
    other.intercepts_[0] = regressor.intercepts_[0].copy()
    other.intercepts_[1][...] = regressor.intercepts_[1]
    np.testing.assert_array_equal(other.predict(X), regressor.predict(X))
    first = other.coefs_[0].copy()
    other.partial_fit(X, X[:, 0])
    assert not np.array_equal(other.coefs_[0], first)


def test_weights_of_another_width_replace_the_network() -> None:
    regressor = MLPRegressor(hidden_layer_sizes=3, random_state=0).partial_fit(X, X[:, 0])
    wide = MLPRegressor(hidden_layer_sizes=7, random_state=0).partial_fit(X, X[:, 0])
    regressor.coefs_, regressor.intercepts_ = wide.coefs_, wide.intercepts_
    np.testing.assert_array_equal(regressor.predict(X), wide.predict(X))
    regressor.partial_fit(X, X[:, 0])
    assert regressor.coefs_[0].shape == (4, 7)
    assert not np.array_equal(regressor.coefs_[0], wide.coefs_[0])


def test_the_arrays_share_the_memory_of_the_network() -> None:
    classifier = MLPClassifier((4, 3), max_iter=2).fit(X, SPECIES)
    assert isinstance(classifier.model_, mlpkit.MLP)
    weight = classifier.model_.layers[0].linear.weight
    assert np.shares_memory(classifier.coefs_[0], weight.detach().numpy())
    with torch.no_grad():
        weight.zero_()
    assert not classifier.coefs_[0].any()
    logits = classifier.model_(torch.from_numpy(X)).detach()
    found = classifier.predict_proba(X)
    np.testing.assert_allclose(found, torch.softmax(logits, 1).numpy())


@pytest.mark.parametrize("how", ["pickle", "deepcopy", "joblib"])
def test_copies_are_independent(how: str) -> None:
    classifier = MLPClassifier(4, max_iter=2, random_state=0).fit(X, SPECIES)
    if how == "joblib":
        buffer = io.BytesIO()
        joblib.dump(classifier, buffer)
        buffer.seek(0)
        copied = joblib.load(buffer)
    else:
        pickled = pickle.dumps(classifier)
        copied = pickle.loads(pickled) if how == "pickle" else copy.deepcopy(classifier)
    expected = classifier.predict_proba(X)
    np.testing.assert_array_equal(copied.predict_proba(X), expected)
    weight = copied.model_.layers[0].linear.weight.detach().numpy()
    assert np.shares_memory(copied.coefs_[0], weight)
    copied.coefs_[0][...] = 0.0
    assert not np.array_equal(copied.predict_proba(X), expected)
    np.testing.assert_array_equal(classifier.predict_proba(X), expected)


def test_clone_copies_the_parameters_only() -> None:
    classifier = MLPClassifier(4, max_iter=2, class_weight={0: 1.0, 1: 2.0, 2: 1.0})
    cloned = clone(classifier.fit(X, SPECIES))
    assert cloned.get_params() == classifier.get_params()
    with pytest.raises(NotFittedError):
        cloned.predict(X)


def test_a_new_fit_forgets_the_solver_of_the_network_before() -> None:
    regressor = MLPRegressor(hidden_layer_sizes=4, random_state=0).partial_fit(X, X[:, 0])
    regressor.set_params(solver="lbfgs", max_iter=2).fit(X, X[:, 0])
    before = regressor.coefs_[0].copy()
    regressor.set_params(solver="adam").partial_fit(X, X[:, 0])
    assert not np.array_equal(regressor.coefs_[0], before)


def test_a_warm_start_continues_the_curve_with_a_new_solver() -> None:
    options: Options = {"hidden_layer_sizes": 5, "max_iter": 4, "random_state": 1}
    expected = theirs.MLPClassifier(warm_start=True, **options)
    found = MLPClassifier(warm_start=True).set_params(**options)
    for _ in range(2):
        assert_equal(found.fit(X, SPECIES), expected.fit(X, SPECIES))
    assert len(found.loss_curve_) == 8


@pytest.mark.parametrize("container", [sp.csr_array, sp.csc_matrix, sp.coo_array])
@pytest.mark.parametrize("by_batch", [False, True])
def test_sparse_inputs_give_the_same_fit(
    container: type, by_batch: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by_batch:
        monkeypatch.setattr("mlpkit.sklearn._estimator._DENSE_BYTES", 0)
        monkeypatch.setattr("mlpkit.sklearn._estimator._ROWS", 40)
    options: Options = {"max_iter": 3, "random_state": 0, "batch_size": 40}
    for solver in ("adam", "lbfgs"):
        dense = MLPRegressor(solver=solver).set_params(**options).fit(X, X[:, 0])
        sparse = MLPRegressor(solver=solver).set_params(**options).fit(container(X), X[:, 0])
        np.testing.assert_allclose(sparse.predict(container(X)), dense.predict(X), rtol=1e-12)


@pytest.mark.parametrize("solver", ["adam", "lbfgs", "muon"])
def test_the_dtype_is_that_of_the_inputs(solver: str) -> None:
    narrow = MLPRegressor(hidden_layer_sizes=4, max_iter=2, solver=solver)
    narrow.fit(X.astype(np.float32), X[:, 0])
    assert {parameter.dtype for parameter in narrow.model_.parameters()} == {torch.float32}
    assert narrow.predict(X).dtype == np.float32
    assert narrow.coefs_[0].dtype == np.float32


def test_the_global_generators_are_not_used() -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - the state is compared
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index,unused-ignore]  # noqa: NPY002
    MLPClassifier(4, max_iter=2, random_state=0).fit(X, SPECIES)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # type: ignore[index,unused-ignore]  # noqa: NPY002


def test_bad_weights_are_refused() -> None:
    weights: Numbers = np.linspace(-1.0, 1.0, 150)
    with pytest.raises(ValueError, match=r"sample_weight must be at least 0, got -1\.0"):
        MLPClassifier().fit(X, SPECIES, sample_weight=weights)
    classifier = MLPClassifier(class_weight=dict.fromkeys(range(3), 0.0))
    with pytest.raises(ValueError, match="sample_weight must be above 0 for an example"):
        classifier.fit(X, SPECIES)


def test_a_large_batch_is_all_examples_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="batch_size is 500, but there are 150 examples"):
        fitted = MLPClassifier(4, batch_size=500, max_iter=2).fit(X, SPECIES)
    assert fitted.t_ == 300


def test_lbfgs_has_no_partial_fit() -> None:
    classifier = MLPClassifier(solver="lbfgs")
    assert not hasattr(classifier, "partial_fit")
    with pytest.raises(AttributeError):
        classifier.partial_fit(X, SPECIES, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
        MLPRegressor(early_stopping=True).partial_fit(X, X[:, 0])


def test_infinite_weights_are_an_error() -> None:
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        MLPRegressor(solver="lbfgs").fit(X * 1e200, X[:, 0] * 1e200)
