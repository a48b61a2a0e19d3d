"""Parameters are checked in fit, not in the constructor."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from mlpkit.sklearn import MLPClassifier, MLPRegressor
from mlpkit.sklearn._presets import SKLEARN_ONLY
from mlpkit.sklearn._settings import SKLEARN_VALUES, Settings

REFUSED: list[tuple[str, object, str]] = [
    ("hidden_layer_sizes", 0, "hidden_layer_sizes must be a positive integer, got 0"),
    ("hidden_layer_sizes", (4, -1), "hidden_layer_sizes must be a positive integer, got -1"),
    ("hidden_layer_sizes", "8", "hidden_layer_sizes must be a positive integer, got '8'"),
    ("activation", "rellu", "did you mean 'relu'?"),
    ("solver", "adma", "did you mean 'adam'?"),
    ("alpha", -1.0, "alpha must be a finite number at least 0, got -1.0"),
    ("batch_size", 0, "batch_size must be a positive integer, got 0; or 'auto'"),
    ("batch_size", "all", "batch_size must be one of 'auto', got 'all'"),
    ("learning_rate", "fast", "learning_rate must be one of 'adaptive', 'constant', 'invscaling'"),
    ("learning_rate_init", 0.0, "learning_rate_init must be a finite number greater than 0"),
    ("power_t", -1.0, "power_t must be a finite number at least 0"),
    ("max_iter", 0, "max_iter must be a positive integer, got 0"),
    ("shuffle", 1, "shuffle must be True or False, got 1"),
    ("tol", -1.0, "tol must be a finite number at least 0"),
    ("verbose", "yes", "verbose must be True, False or a non-negative integer, got 'yes'"),
    ("warm_start", None, "warm_start must be True or False, got None"),
    ("momentum", 1.5, "momentum must be a finite number at least 0 and at most 1, got 1.5"),
    ("nesterovs_momentum", 0, "nesterovs_momentum must be True or False"),
    ("early_stopping", "no", "early_stopping must be True or False, got 'no'"),
    ("validation_fraction", 1.0, "validation_fraction must be a finite number at least 0 and less"),
    ("beta_1", 1.0, "beta_1 must be a finite number at least 0 and less than 1, got 1.0"),
    ("beta_2", -0.1, "beta_2 must be a finite number at least 0 and less than 1, got -0.1"),
    ("epsilon", 0.0, "epsilon must be a finite number greater than 0, got 0.0"),
    ("n_iter_no_change", 0, "n_iter_no_change must be a positive integer, got 0; or float('inf')"),
    ("max_fun", 0, "max_fun must be a positive integer, got 0"),
    ("n_members", 0, "n_members must be a positive integer, got 0"),
]


@pytest.mark.parametrize(("name", "value", "message"), REFUSED)
def test_a_bad_value_is_refused_in_fit(name: str, value: object, message: str) -> None:
    """Also one that the preset does not use."""
    for preset in ("sklearn", "tabular"):
        if preset == "tabular" and name in SKLEARN_ONLY:
            message = f"{name} must be the default for preset='tabular'"
        regressor = MLPRegressor(preset=preset).set_params(**{name: value})
        with pytest.raises((TypeError, ValueError), match=re.escape(message)):
            regressor.fit([[0.0], [1.0]], [0.0, 1.0])


def test_names_and_numbers_of_other_types_are_converted() -> None:
    estimator = MLPClassifier(
        hidden_layer_sizes=np.array([4, 2]).tolist(),
        activation="logistic",
        max_iter=int(np.int64(3)),
        verbose=10,
        n_iter_no_change=math.inf,
    )
    settings = Settings.of(estimator)
    assert settings.hidden_layer_sizes == (4, 2)
    assert settings.activation == "sigmoid"
    assert settings.verbose is True
    assert settings.n_iter_no_change == math.inf
    assert Settings.of(MLPClassifier(7)).hidden_layer_sizes == (7,)


def test_both_estimators_have_scikit_learns_parameters_and_defaults() -> None:
    from sklearn import neural_network  # type: ignore[import-untyped]

    for ours, theirs in (
        (MLPClassifier(), neural_network.MLPClassifier()),
        (MLPRegressor(), neural_network.MLPRegressor()),
    ):
        expected = theirs.get_params()
        added: dict[str, object] = {"preset": None, "n_members": None}
        if isinstance(ours, MLPClassifier):
            added["class_weight"] = None
        elif "loss" not in expected:
            added["loss"] = "squared_error"  # since scikit-learn 1.7
        assert ours.get_params() == expected | dict.fromkeys(SKLEARN_VALUES) | added
        settings = Settings.of(ours)
        for name, value in SKLEARN_VALUES.items():
            assert expected[name] == value == getattr(settings, name)


def test_the_parameters_of_scikit_learn_alone_have_its_defaults() -> None:
    from sklearn import neural_network

    expected = {"loss": "squared_error", **neural_network.MLPRegressor().get_params()}
    assert SKLEARN_ONLY.items() <= expected.items()
