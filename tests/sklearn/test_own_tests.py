"""scikit-learn's own tests of its multilayer perceptron, run with the classes of mlpkit."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest
import sklearn.neural_network  # type: ignore[import-untyped]

from mlpkit.sklearn import MLPClassifier, MLPRegressor

# Tests that do not apply, each with the reason.
NOT_APPLICABLE = {
    "test_gradient": "calls the private method that computes scikit-learn's gradient with NumPy; "
    "test_solvers.py compares the gradient of mlpkit with finite differences",
    "test_mlp_vs_poisson_glm_equivalent": "loss='poisson' is refused; see test_regressor.py",
}
# Tests with many fits; `pytest -m long` and the nox session `sklearn` run them.
LONG = {
    "test_alpha",
    "test_lbfgs_classification_maxfun",
    "test_mlp_loading_from_joblib_partial_fit",
    "test_mlp_sample_weight_with_early_stopping",
    "test_multilabel_classification",
    "test_n_iter_no_change",
    "test_n_iter_no_change_inf",
    "test_partial_fit_classification",
    "test_partial_fit_regression",
}


def own_tests() -> ModuleType:
    """Return the test module of the installed scikit-learn, with these classes in place of its."""
    spec = importlib.util.find_spec("sklearn.neural_network.tests.test_mlp")
    assert spec is not None, "scikit-learn ships its tests"
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sklearn.neural_network, "MLPClassifier", MLPClassifier)
        patch.setattr(sklearn.neural_network, "MLPRegressor", MLPRegressor)
        spec.loader.exec_module(module)
    sys.modules.pop(spec.name, None)
    return module


OWN = own_tests()
TESTS = {name: test for name, test in vars(OWN).items() if name.startswith("test_")}
for _name, _test in TESTS.items():
    if _name not in NOT_APPLICABLE:
        globals()[_name] = pytest.mark.long(_test) if _name in LONG else _test


@pytest.fixture
def global_random_seed() -> int:
    """The fixture of scikit-learn's test suite."""
    return 42


def test_the_classes_are_replaced() -> None:
    assert OWN.MLPClassifier is MLPClassifier
    assert OWN.MLPRegressor is MLPRegressor


def test_the_table_names_tests_of_scikit_learn() -> None:
    assert len(TESTS) > 30
    assert set(NOT_APPLICABLE) <= set(TESTS) | {"test_mlp_vs_poisson_glm_equivalent"}
