"""The regressor: targets, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.compose import TransformedTargetRegressor  # type: ignore[import-untyped]
from sklearn.datasets import load_diabetes  # type: ignore[import-untyped]
from sklearn.exceptions import DataConversionWarning  # type: ignore[import-untyped]
from sklearn.metrics import r2_score  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

from mlpkit.sklearn import MLPRegressor
from mlpkit.sklearn._estimator import Examples

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, y = load_diabetes(return_X_y=True)


def test_another_loss_is_refused() -> None:
    with pytest.raises(ValueError, match=r"loss must be .*, got 'poisson'.*Regressor"):
        MLPRegressor(loss="poisson").fit(X, y)
    wrong: object = (50,)
    with pytest.raises(ValueError, match="pass hidden_layer_sizes by keyword"):
        MLPRegressor(wrong).fit(X, y)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="loss must be 'squared_error'"):
        MLPRegressor(loss="poisson").partial_fit(X, y)


def test_several_targets_have_the_shape_of_the_targets() -> None:
    both = np.column_stack([y, -y])
    regressor = MLPRegressor(solver="lbfgs", max_iter=5, random_state=0).fit(X, both)
    assert regressor.predict(X).shape == both.shape
    assert regressor.coefs_[-1].shape == (100, 2)
    with pytest.warns(DataConversionWarning):
        assert regressor.fit(X, y[:, None]).predict(X).shape == y.shape


def test_targets_of_any_scale_in_a_pipeline() -> None:
    network = MLPRegressor(hidden_layer_sizes=8, solver="lbfgs", alpha=1.0, random_state=0)
    pipeline = make_pipeline(StandardScaler(), network)
    model = TransformedTargetRegressor(pipeline, transformer=StandardScaler())
    assert model.fit(X, 1e6 + 1e3 * y).score(X, 1e6 + 1e3 * y) > 0.5


def test_a_weight_of_two_is_the_example_twice() -> None:
    weights = np.where(y > 100.0, 2.0, 1.0)
    rows = np.repeat(np.arange(len(y)), weights.astype(int))
    options: dict[str, object] = {"solver": "lbfgs", "hidden_layer_sizes": (), "tol": 1e-10}
    weighted = MLPRegressor(max_iter=500).set_params(**options)
    repeated = MLPRegressor(max_iter=500).set_params(**options)
    weighted.fit(X * 20.0, y / 100.0, sample_weight=weights)
    repeated.fit(X[rows] * 20.0, y[rows] / 100.0)
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-4)


def test_integers_are_numbers() -> None:
    whole = MLPRegressor(hidden_layer_sizes=4, max_iter=3, random_state=0).fit(X, y.astype(int))
    exact = MLPRegressor(hidden_layer_sizes=4, max_iter=3, random_state=0).fit(X, y)
    np.testing.assert_array_equal(whole.predict(X), exact.predict(X))
    swapped = MLPRegressor(hidden_layer_sizes=4, max_iter=3, random_state=0)
    swapped.fit(X, y.astype(">f8"))  # of another byte order, as in a FITS or netCDF file
    np.testing.assert_array_equal(swapped.predict(X), exact.predict(X))
    with pytest.raises(ValueError, match="y must be real numbers, got an array of <U"):
        whole.fit(X, np.where(y > 100.0, "large", "small"))


@pytest.mark.parametrize("kind", ["one", "two", "constant", "weighted"])
def test_the_validation_score_is_r2(kind: str) -> None:
    outputs = torch.from_numpy(np.column_stack([X[:, 0], X[:, 1]]))
    targets = torch.from_numpy(np.column_stack([y, -y]) / 1000.0)
    if kind == "one":
        outputs, targets = outputs[:, :1], targets[:, :1]
    if kind == "constant":
        targets[:, 0], outputs[:, 0] = 3.0, 3.0
        targets[:, 1] = 1.0
    weights = torch.linspace(0.0, 1.0, len(y), dtype=torch.float64) if kind == "weighted" else None
    found = MLPRegressor()._score_outputs(outputs, Examples(outputs, targets, weights))
    counts = None if weights is None else weights.numpy()
    expected = r2_score(targets.numpy(), outputs.numpy(), sample_weight=counts)
    assert found == pytest.approx(expected)
