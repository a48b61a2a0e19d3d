"""The end of a fit and what it prints."""

from __future__ import annotations

import signal
import warnings
from itertools import pairwise

import numpy as np
import pytest
from sklearn.datasets import load_iris  # type: ignore[import-untyped]
from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]
from sklearn.metrics import accuracy_score, r2_score  # type: ignore[import-untyped]
from sklearn.model_selection import train_test_split  # type: ignore[import-untyped]

from mlpkit.sklearn import MLPClassifier, MLPRegressor

X, y = load_iris(return_X_y=True)
LABELS = np.column_stack([y == 1, y > 0]).astype(int)


def test_a_fit_that_reaches_max_iter_warns() -> None:
    with pytest.warns(ConvergenceWarning, match="3 iterations were made"):
        MLPClassifier(4, max_iter=3).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = MLPClassifier(4, max_iter=50, tol=10.0, random_state=0).fit(X, y)
    assert fitted.n_iter_ == 12  # the first one, and 11 without an improvement


def test_it_prints_iterations_scores_and_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    options: dict[str, object] = {"tol": 10.0, "n_iter_no_change": 1, "verbose": True}
    fitted = MLPClassifier(4, random_state=0).set_params(**options).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"Iteration 1, loss = {fitted.loss_curve_[0]:.8f}"
    assert lines[-1] == "Training loss did not improve by 10 in 1 iterations. Stopping."
    fitted.set_params(early_stopping=True).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert fitted.validation_scores_ is not None
    assert lines[1] == f"Validation score: {fitted.validation_scores_[0]:f}"
    assert lines[-1].startswith("Validation score did not improve")
    fitted.set_params(early_stopping=False, solver="sgd", learning_rate="adaptive").fit(X, y)
    text = capsys.readouterr().out
    assert "The learning rate is now 0.0002." in text
    assert text.endswith("The learning rate is too small. Stopping.\n")
    with pytest.warns(ConvergenceWarning):
        fitted.set_params(solver="lbfgs", max_iter=2, tol=0.0).fit(X, y)
    assert capsys.readouterr().out.splitlines()[1] == f"Iteration 2, loss = {fitted.loss_:.8f}"


@pytest.mark.parametrize("kind", ["classes", "labels", "numbers"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_weights_of_the_best_score_are_kept(kind: str, weighted: bool) -> None:
    """The score is computed again from the held-out part, which follows from the seed."""
    targets = {"classes": y, "labels": LABELS, "numbers": X[:, 0] * 1.0}[kind]
    estimator = MLPRegressor() if kind == "numbers" else MLPClassifier()
    estimator.set_params(early_stopping=True, random_state=3, max_iter=40, n_iter_no_change=3)
    estimator.set_params(hidden_layer_sizes=6, learning_rate_init=0.05, tol=0.01)
    weights = np.linspace(0.1, 1.0, len(X)) if weighted else None
    random = np.random.RandomState(3)
    sizes = [4, 6, targets.shape[1] if kind == "labels" else (3 if kind == "classes" else 1)]
    for fan_in, fan_out in pairwise(sizes):
        random.uniform(size=fan_in * fan_out + fan_out)
    held = np.ones(len(X)) if weights is None else weights
    _, X_val, _, y_val, _, w_val = train_test_split(
        X, targets, held, random_state=random, test_size=0.1
    )
    estimator.fit(X, targets, weights)
    score = r2_score if kind == "numbers" else accuracy_score
    found = score(y_val, estimator.predict(X_val), sample_weight=w_val)
    assert found == pytest.approx(estimator.best_validation_score_)
    assert estimator.validation_scores_ is not None
    assert estimator.best_validation_score_ == max(estimator.validation_scores_)
    assert estimator.n_iter_ == len(estimator.validation_scores_) < 40


def test_a_warm_start_can_add_early_stopping() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = MLPClassifier(4, max_iter=2, warm_start=True, random_state=0).fit(X, y)
        fitted.set_params(early_stopping=True).fit(X, y)
        assert fitted.validation_scores_ is not None
        assert fitted.best_validation_score_ == max(fitted.validation_scores_)
        fitted.set_params(early_stopping=False).fit(X, y)
    assert len(fitted.validation_scores_) == 2
    assert len(fitted.loss_curve_) == 6


def test_without_finite_loss_the_best_weights_stay() -> None:
    regressor = MLPRegressor(solver="sgd", learning_rate_init=1.0, early_stopping=True)
    with pytest.warns(ConvergenceWarning, match="The loss is not finite"):
        regressor.set_params(activation="identity", random_state=0).fit(X, X[:, 0])
    assert regressor.validation_scores_ is not None
    assert np.isnan(regressor.validation_scores_[-1])
    assert np.isfinite(regressor.predict(X)).all()


def test_an_interrupt_keeps_what_was_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlpkit.sklearn import _stopping

    def interrupt(rule: _stopping.StoppingRule) -> bool:
        is_over = original(rule)
        if rule._progress.n_iter == 2:
            raise KeyboardInterrupt
        return is_over

    original = _stopping.StoppingRule._is_over
    monkeypatch.setattr(_stopping.StoppingRule, "_is_over", interrupt)
    with pytest.warns(UserWarning, match="interrupted"):
        fitted = MLPClassifier(4).fit(X, y)
    assert fitted.n_iter_ == 2
    assert fitted.predict(X).shape == y.shape


def test_an_interrupt_ends_a_minimization_after_the_iteration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(message: str) -> None:
        if message.startswith("Iteration 3,"):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("builtins.print", interrupt)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.warns(UserWarning, match="interrupted") as caught:
        fitted = MLPClassifier(4, solver="lbfgs", verbose=True, random_state=0).fit(X, y)
    assert len(caught) == 1
    assert fitted.n_iter_ == 3
    assert signal.getsignal(signal.SIGINT) is handler
    expected = MLPClassifier(4, solver="lbfgs", max_iter=3, random_state=0)
    with pytest.warns(ConvergenceWarning):
        expected.fit(X, y)
    assert fitted.loss_ == expected.loss_
    np.testing.assert_array_equal(fitted.predict_proba(X), expected.predict_proba(X))
