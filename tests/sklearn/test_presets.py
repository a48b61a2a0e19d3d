"""Which preset a fit has."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

from mlpkit import MLP
from mlpkit.models import Ensemble
from mlpkit.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ARRAY: npt.NDArray[np.float64] = np.random.default_rng(0).normal(size=(40, 2))
LABELS = (ARRAY[:, 0] > 0).astype(int)
FRAME = pd.DataFrame(ARRAY, columns=["a", "b"])
QUICK: Mapping[str, object] = {"max_iter": 2, "n_members": 1, "random_state": 0}


def fitted(X: object, **params: object) -> MLPClassifier:
    estimator = MLPClassifier()
    estimator.set_params(**{**QUICK, **params})
    return estimator.fit(X, LABELS)


@pytest.mark.parametrize(
    "X", [FRAME, pl.DataFrame({"a": ARRAY[:, 0], "b": ARRAY[:, 1]})], ids=["pandas", "polars"]
)
def test_a_frame_has_the_tabular_preset(X: object) -> None:
    assert isinstance(fitted(X).model_, Ensemble)
    assert isinstance(fitted(X, preset="sklearn").model_, MLP)


@pytest.mark.parametrize(
    "X",
    [ARRAY, ARRAY.tolist(), sp.csr_array(ARRAY), pd.DataFrame(ARRAY)],
    ids=["array", "list", "sparse", "frame without names"],
)
def test_other_inputs_have_the_preset_of_scikit_learn(X: object) -> None:
    assert isinstance(fitted(X).model_, MLP)


def test_an_array_has_the_tabular_preset_if_it_is_asked_for() -> None:
    found = fitted(ARRAY, preset="tabular")
    assert isinstance(found.model_, Ensemble)
    # A frame without names has the columns of an array.
    assert np.array_equal(
        found.predict_proba(ARRAY),
        fitted(pd.DataFrame(ARRAY), preset="tabular").predict_proba(ARRAY),
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("solver", "lbfgs"),
        ("alpha", 0.0001),
        ("learning_rate", "adaptive"),
        ("learning_rate_init", 0.01),
        ("momentum", 0.5),
        ("shuffle", False),
        ("warm_start", True),
        ("beta_1", 0.5),
        ("max_fun", 10),
    ],
)
def test_a_parameter_that_the_tabular_preset_lacks_decides(name: str, value: object) -> None:
    """A script with scikit-learn's parameters has scikit-learn's network for frames too."""
    found = fitted(FRAME, **{name: value})
    assert isinstance(found.model_, MLP)
    expected = fitted(ARRAY, **{name: value})
    assert np.array_equal(found.predict_proba(FRAME), expected.predict_proba(ARRAY))
    if name == "alpha":  # the weight decay
        assert isinstance(fitted(FRAME, preset="tabular", alpha=0.0).model_, Ensemble)
        return
    message = f"{name} must be the default for preset='tabular'"
    with pytest.raises(ValueError, match=message):
        fitted(FRAME, preset="tabular", **{name: value})


def test_unknown_presets_are_refused() -> None:
    with pytest.raises(ValueError, match="preset must be one of 'sklearn', 'tabular', got 'table'"):
        fitted(FRAME, preset="table")


def test_the_network_of_scikit_learn_refuses_a_table_with_advice() -> None:
    frame = FRAME.assign(c="text")
    with pytest.raises(ValueError, match=r"ould not convert|annot cast") as caught:
        fitted(frame, solver="lbfgs")
    assert caught.value.__notes__ == ["preset='tabular' takes categories and missing values"]
    with pytest.raises(ValueError, match="NaN") as caught:
        fitted(np.where(ARRAY > 1, np.nan, ARRAY))
    assert caught.value.__notes__


def test_a_fit_forgets_the_other_preset() -> None:
    both = MLPRegressor(max_iter=2, n_members=1).fit(FRAME, ARRAY[:, 0])
    assert not hasattr(both, "coefs_")
    assert hasattr(both, "encoder_")
    both.fit(ARRAY, ARRAY[:, 0])
    assert hasattr(both, "coefs_")
    assert not hasattr(both, "encoder_")
    both.fit(FRAME, ARRAY[:, 0])
    assert not hasattr(both, "coefs_")
    assert both.predict(FRAME).shape == (40,)


def test_partial_fit_has_the_preset_of_scikit_learn() -> None:
    streamed = MLPRegressor().partial_fit(FRAME, ARRAY[:, 0])
    assert isinstance(streamed.model_, MLP)
    assert not hasattr(MLPRegressor(preset="tabular"), "partial_fit")
    tabular = MLPRegressor(max_iter=2, n_members=1).fit(FRAME, ARRAY[:, 0])
    with pytest.raises(ValueError, match="preset must be 'sklearn' for fit, which partial_fit"):
        tabular.partial_fit(FRAME, ARRAY[:, 0])


def test_a_scaled_array_with_names_is_a_frame() -> None:
    scaler = StandardScaler().set_output(transform="pandas")
    assert isinstance(fitted(scaler.fit_transform(FRAME)).model_, Ensemble)
