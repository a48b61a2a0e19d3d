"""The classifier: classes, weights of classes, and the tools of scikit-learn around it."""

from __future__ import annotations

import inspect

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn  # type: ignore[import-untyped]
from joblib import parallel_config  # type: ignore[import-untyped]
from sklearn.calibration import CalibratedClassifierCV  # type: ignore[import-untyped]
from sklearn.datasets import load_iris  # type: ignore[import-untyped]
from sklearn.ensemble import StackingClassifier  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from sklearn.model_selection import (  # type: ignore[import-untyped]
    GridSearchCV,
    cross_val_predict,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]
from sklearn.utils.class_weight import compute_sample_weight  # type: ignore[import-untyped]

from mlpkit.sklearn import MLPClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, SPECIES = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[SPECIES]


def small(**options: object) -> MLPClassifier:
    """Return a classifier that takes milliseconds."""
    classifier = MLPClassifier(8, solver="lbfgs", max_iter=30, random_state=0)
    classifier.set_params(**options)
    return classifier


@pytest.mark.parametrize(
    "y",
    [
        NAMES,
        NAMES.astype(object),
        pd.Series(NAMES),
        pd.Series(NAMES, dtype="category"),
        NAMES == "x",
    ],
    ids=["str", "object", "Series", "category", "bool"],
)
def test_predictions_are_labels(y: object) -> None:
    classifier = small().fit(X, y)
    expected = np.unique(np.asarray(y))
    np.testing.assert_array_equal(classifier.classes_, expected)
    assert set(classifier.predict(X)) <= set(expected.tolist())
    probabilities = classifier.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)


def test_labels_are_independent() -> None:
    labels = np.column_stack([SPECIES == 0, SPECIES > 0, np.ones(150)]).astype(int)
    classifier = small(max_iter=100).fit(X, labels)
    assert classifier.predict_proba(X).shape == (150, 3)
    np.testing.assert_array_equal(classifier.predict(X), labels)


@pytest.mark.parametrize("kind", ["balanced", "mapping"])
def test_class_weights_are_weights_of_examples(kind: str) -> None:
    y, seen = NAMES[:120], X[:120]  # 20 virginica
    given = (
        "balanced" if kind == "balanced" else {"setosa": 1.0, "versicolor": 3.0, "virginica": 0.5}
    )
    weights = np.linspace(1.0, 2.0, 120)
    expected = small().fit(seen, y, sample_weight=weights * compute_sample_weight(given, y))
    found = small(class_weight=given).fit(seen, y, sample_weight=weights)
    np.testing.assert_array_equal(found.coefs_[0], expected.coefs_[0])


def test_a_weight_of_two_is_the_example_twice() -> None:
    weights = np.where(SPECIES == 1, 2.0, 1.0)
    rows = np.repeat(np.arange(150), weights.astype(int))
    weighted = small(tol=1e-9).fit(X, NAMES, sample_weight=weights)
    repeated = small(tol=1e-9).fit(X[rows], NAMES[rows])
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-5)


def test_a_stream_knows_its_classes() -> None:
    classifier = MLPClassifier(4, random_state=0)
    with pytest.raises(ValueError, match="classes must be given in the first call"):
        classifier.partial_fit(X, NAMES)
    classifier.partial_fit(X[:50], NAMES[:50], classes=np.unique(NAMES))
    assert classifier.predict_proba(X).shape == (150, 3)
    classifier.partial_fit(X, NAMES, sample_weight=np.ones(150), classes=np.unique(NAMES))
    with pytest.raises(ValueError, match="classes must be those of the first call"):
        classifier.partial_fit(X, NAMES, classes=["setosa", "rose"])
    with pytest.raises(ValueError, match="y must be one of the classes"):
        classifier.partial_fit(X[:2], ["setosa", "rose"])
    with pytest.raises(ValueError, match="class_weight must be a mapping or None for partial_fit"):
        MLPClassifier(class_weight="balanced").partial_fit(X, NAMES, classes=np.unique(NAMES))


def test_a_label_stream_of_several_labels() -> None:
    labels = np.column_stack([SPECIES == 0, SPECIES > 0]).astype(int)
    classifier = MLPClassifier(4, learning_rate_init=0.05, random_state=0)
    for _ in range(60):
        classifier.partial_fit(X, labels, classes=[0, 1])
    np.testing.assert_array_equal(classifier.predict(X), labels)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_frames_have_names(make: type) -> None:
    names = ["a", "b", "c", "d"]
    frame = make({name: X[:, index] for index, name in enumerate(names)})
    classifier = small().fit(frame, NAMES)
    np.testing.assert_array_equal(classifier.predict(frame), small().fit(X, NAMES).predict(X))
    if not hasattr(LogisticRegression().fit(frame, NAMES), "feature_names_in_"):
        pytest.skip("this scikit-learn does not read the names of this frame")
    assert classifier.feature_names_in_.tolist() == names
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(make(dict.fromkeys("abcz", X[:, 0])))


def search() -> GridSearchCV:
    """Return a search over two widths in a pipeline, whose frames have names."""
    pipeline = make_pipeline(StandardScaler(), small()).set_output(transform="pandas")
    grid = {"mlpclassifier__hidden_layer_sizes": [(2,), (4, 3)]}
    return GridSearchCV(pipeline, grid, cv=2, n_jobs=2)


def test_searches_and_meta_estimators() -> None:
    with parallel_config(backend="threading"):
        found = search().fit(X, NAMES)
        scores = cross_val_score(small(), X, NAMES, cv=3, n_jobs=2)
    assert found.best_estimator_[-1].feature_names_in_.tolist() == ["x0", "x1", "x2", "x3"]
    assert found.best_score_ > 0.8
    assert scores.mean() > 0.8
    calibrated = CalibratedClassifierCV(small(), cv=2).fit(X, NAMES)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1.0)
    stacked = StackingClassifier([("mlp", small())], LogisticRegression(), cv=2).fit(X, NAMES)
    assert stacked.score(X, NAMES) > 0.9
    assert cross_val_predict(small(), X, NAMES, cv=2, method="predict_proba").shape == (150, 3)


@pytest.mark.long
def test_a_search_in_processes() -> None:
    assert search().fit(X, NAMES).best_score_ > 0.8
    assert cross_val_score(small(), X, NAMES, cv=3, n_jobs=2).mean() > 0.8


def test_weights_are_routed() -> None:
    weights = np.where(SPECIES == 2, 0.0, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        routed = small().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        routed.set_partial_fit_request(sample_weight=True)
        found = GridSearchCV(routed, {"alpha": [0.1]}, cv=2).fit(X, SPECIES, sample_weight=weights)
    assert found.best_score_ == 1.0  # only the classes with weight, which are separable
    assert found.best_estimator_.predict(X).max() == 1


def test_html_and_text_show_the_parameters() -> None:
    classifier = small()
    assert repr(classifier).startswith("MLPClassifier(hidden_layer_sizes=8, max_iter=30,")
    assert "MLPClassifier" in classifier._repr_html_()


def test_the_signatures_have_no_parameters_that_scikit_learn_lacks() -> None:
    names = list(inspect.signature(MLPClassifier).parameters)
    assert names[:2] == ["hidden_layer_sizes", "activation"]
    assert names[-3:] == ["class_weight", "preset", "n_members"]
