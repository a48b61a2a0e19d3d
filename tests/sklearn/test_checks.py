"""scikit-learn's checks of an estimator, without an expected failure."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
from _pytest.mark import ParameterSet
from sklearn.utils.estimator_checks import (  # type: ignore[import-untyped]
    estimator_checks_generator,
)

from mlpkit.sklearn import MLPClassifier, MLPRegressor

# The checks cause warnings of scikit-learn and of estimators with few iterations.
pytestmark = pytest.mark.filterwarnings("ignore")


def checks(*estimators: object) -> list[ParameterSet]:
    """Return all checks of the estimators, as parameters with readable names."""
    found: dict[str, ParameterSet] = {}  # scikit-learn 1.6 has a check twice
    for estimator in estimators:
        for one, check in estimator_checks_generator(estimator):
            options = getattr(check, "keywords", {})
            name = getattr(check, "func", check).__name__
            shown = [f"{key}={value}" for key, value in options.items()]
            identity = "-".join([type(estimator).__name__, name, *shown])
            found[identity] = pytest.param(functools.partial(check, one), id=identity)
    return list(found.values())


@pytest.mark.parametrize("check", checks(MLPClassifier(max_iter=60), MLPRegressor(max_iter=30)))
def test_check(check: Callable[[], None]) -> None:
    """Every check passes; with few iterations, since there are many fits."""
    check()


@pytest.mark.long
@pytest.mark.parametrize("check", checks(MLPClassifier(), MLPRegressor()))
def test_check_with_defaults(check: Callable[[], None]) -> None:
    """Every check passes with the defaults; the nox session `sklearn` runs these too."""
    check()


def test_there_are_many_checks() -> None:
    assert len(checks(MLPClassifier())) > 50
    assert len(checks(MLPRegressor())) > 50
