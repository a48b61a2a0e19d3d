"""scikit-learn's checks of an estimator, without an expected failure."""

from __future__ import annotations

import functools
import unittest
from collections.abc import Callable

import pytest
from _pytest.mark import ParameterSet
from sklearn.utils.estimator_checks import (  # type: ignore[import-untyped]
    estimator_checks_generator,
)

from mlpkit.sklearn import MLPClassifier, MLPRegressor

# The checks cause warnings of scikit-learn and of estimators with few iterations.
pytestmark = pytest.mark.filterwarnings("ignore")


def checks(estimator: object) -> dict[str, ParameterSet]:
    """Return all checks of an estimator by name, as parameters with readable names."""
    found: dict[str, ParameterSet] = {}  # scikit-learn 1.6 has a check twice
    for one, check in estimator_checks_generator(estimator):
        options = getattr(check, "keywords", {})
        shown = [f"{key}={value}" for key, value in options.items()]
        name = "-".join([getattr(check, "func", check).__name__, *shown])
        preset = getattr(estimator, "preset", None) or "sklearn"
        identity = f"{type(estimator).__name__}-{preset}-{name}"
        found[name] = pytest.param(functools.partial(check, one), id=identity)
    return found


def run(check: Callable[[], None]) -> None:
    """Run a check; pytest 9.0 does not know the exception of one that does not apply."""
    try:
        check()
    except unittest.SkipTest as reason:
        pytest.skip(str(reason))


# The regressor takes the checks that both have, which concern the code that they share.
QUICK = checks(MLPClassifier(max_iter=60)) | checks(MLPRegressor(max_iter=30))
# The tabular preset holds out other rows if there are more of them.
TABULAR = {
    name: check
    for name, check in (
        checks(MLPClassifier(preset="tabular", n_members=1, max_iter=15))
        | checks(MLPRegressor(preset="tabular", n_members=1, max_iter=15))
    ).items()
    # The check of class weights makes 200 epochs whatever max_iter is.
    if not name.startswith(("check_sample_weight_equivalence", "check_class_weight_classifiers"))
}
ALL = [
    check
    for estimator in (
        MLPClassifier(),
        MLPRegressor(),
        MLPClassifier(preset="tabular"),
        MLPRegressor(preset="tabular"),
    )
    for name, check in checks(estimator).items()
    if estimator.preset is None or not name.startswith("check_sample_weight_equivalence")
]


@pytest.mark.parametrize("check", QUICK.values())
def test_check(check: Callable[[], None]) -> None:
    """Every check passes; with few iterations, since there are many fits."""
    run(check)


@pytest.mark.parametrize("check", TABULAR.values())
def test_check_of_the_tabular_preset(check: Callable[[], None]) -> None:
    """Every check passes but those of equivalent weights."""
    run(check)


@pytest.mark.long
@pytest.mark.parametrize("check", ALL)
def test_check_with_defaults(check: Callable[[], None]) -> None:
    """Every check passes with the defaults; the nox session `sklearn` runs these."""
    run(check)


def test_there_are_many_checks() -> None:
    assert len(checks(MLPClassifier())) > 50
    assert len(checks(MLPRegressor())) > 50
