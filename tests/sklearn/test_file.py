"""Files of estimators."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file
from sklearn.datasets import load_iris  # type: ignore[import-untyped]
from sklearn.exceptions import NotFittedError  # type: ignore[import-untyped]

from mlpkit.errors import ArtifactError
from mlpkit.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, SPECIES = load_iris(return_X_y=True)
CLASSES = {
    "numbers": SPECIES,
    "two": SPECIES == 1,
    "strings": np.array(["a", "b", "c"])[SPECIES],
    "objects": np.array(["a", "b", "c"], dtype=object)[SPECIES],
    "labels": np.column_stack([SPECIES == 1, SPECIES > 0]).astype(int),
    "one": np.zeros(150, dtype=int),
}


@pytest.mark.parametrize("kind", CLASSES)
def test_a_classifier_comes_back(kind: str, tmp_path: Path) -> None:
    y = CLASSES[kind]
    classifier = MLPClassifier((4, 3), max_iter=3, random_state=0, activation="gelu").fit(X, y)
    path = classifier.save(tmp_path / "classifier.safetensors")
    loaded = MLPClassifier.load(path)
    assert loaded.get_params() == classifier.get_params()
    np.testing.assert_array_equal(loaded.classes_, classifier.classes_)
    assert loaded.classes_.dtype == classifier.classes_.dtype
    np.testing.assert_array_equal(loaded.predict_proba(X), classifier.predict_proba(X))
    np.testing.assert_array_equal(loaded.predict(X), classifier.predict(X))
    for name in ("loss_curve_", "loss_", "n_iter_", "t_", "n_outputs_", "out_activation_"):
        assert getattr(loaded, name) == getattr(classifier, name)
    loaded.partial_fit(X, y)
    assert len(loaded.loss_curve_) == 4


def test_a_regressor_with_names_comes_back(tmp_path: Path) -> None:
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    regressor = MLPRegressor(solver="lbfgs", max_iter=3, n_iter_no_change=np.inf)
    regressor.fit(frame, X[:, :2])
    loaded = MLPRegressor.load(regressor.save(tmp_path / "regressor"))
    assert loaded.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    assert loaded.get_params() == regressor.get_params()
    np.testing.assert_array_equal(loaded.predict(frame), regressor.predict(frame))


def test_parameters_of_several_types_come_back(tmp_path: Path) -> None:
    weights = {0: 1.0, 1: 2.5, 2: 1.0}
    classifier = MLPClassifier([4], max_iter=2, class_weight=weights, warm_start=True)
    loaded = MLPClassifier.load(classifier.fit(X, SPECIES).save(tmp_path / "classifier"))
    assert loaded.class_weight == weights
    assert loaded.hidden_layer_sizes == [4]
    assert loaded.warm_start is True


def test_what_cannot_be_saved_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        MLPRegressor().save(tmp_path / "file")
    regressor = MLPRegressor(random_state=np.random.RandomState(0), max_iter=1).fit(X, X[:, 0])
    with pytest.raises(ArtifactError, match=r"random_state must be a number.*use an int"):
        regressor.save(tmp_path / "file")
    assert not (tmp_path / "file").exists()


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = MLPRegressor(max_iter=1).fit(X, X[:, 0]).save(tmp_path / "regressor")
    with pytest.raises(ArtifactError, match=r"a file that MLPClassifier\.save wrote"):
        MLPClassifier.load(path)
    with pytest.raises(ArtifactError, match="a file that save wrote"):
        MLPRegressor.load(tmp_path / "nothing")
    whole = path.read_bytes()
    path.write_bytes(whole[:-8])
    with pytest.raises(ArtifactError, match="a file that save wrote"):
        MLPRegressor.load(path)
    path.write_bytes(whole.replace(b'\\"t_\\": 150', b'\\"t_\\": [[['))
    with pytest.raises(ArtifactError, match="describes no estimator"):
        MLPRegressor.load(path)
    save_file({"weight": X}, str(tmp_path / "other"))
    with pytest.raises(ArtifactError, match=r"a file that MLPRegressor\.save wrote"):
        MLPRegressor.load(tmp_path / "other")
