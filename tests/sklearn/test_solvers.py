"""Solvers: scikit-learn's minimum and formulas, and the solvers of mlpkit."""

from __future__ import annotations

import pickle

import numpy as np
import numpy.typing as npt
import pytest
import sklearn.neural_network as theirs  # type: ignore[import-untyped]
import torch
from scipy.optimize import approx_fprime
from sklearn.datasets import load_iris  # type: ignore[import-untyped]

from mlpkit._protocols import Batch
from mlpkit.nn import MLP
from mlpkit.sklearn import MLPClassifier, MLPRegressor
from mlpkit.sklearn._batches import CurrentBatch
from mlpkit.sklearn._settings import Settings
from mlpkit.sklearn._solvers import LBFGS, Loss, build_solver, linears
from mlpkit.training import (
    BinaryCrossEntropy,
    CrossEntropy,
    MeanSquaredError,
    OptimizerConfig,
    OptimizerName,
    OutputObjective,
    build_optimizer,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
IRIS, SPECIES = load_iris(return_X_y=True)


@pytest.mark.parametrize("activation", ["relu", "tanh", "maxout"])
@pytest.mark.parametrize("objective", [CrossEntropy(), BinaryCrossEntropy(), MeanSquaredError()])
def test_the_gradient_of_lbfgs_is_that_of_its_value(
    activation: str, objective: OutputObjective
) -> None:
    """The numerical gradient is the oracle, with weights and penalty."""
    settings = Settings.of(MLPClassifier(4, activation=activation, alpha=0.7, solver="lbfgs"))
    generator = torch.Generator().manual_seed(0)
    network = MLP(
        3,
        (4,),
        2,
        activation=settings.activation,
        dtype=torch.float64,
        generator=generator,
    )
    with torch.no_grad():
        for linear in linears(network):  # biases too, which have no penalty
            linear.bias.normal_(generator=generator)
    targets = torch.from_numpy(X[:, :2].copy())
    if not isinstance(objective, MeanSquaredError):
        targets = (targets > 0).double()
    if isinstance(objective, CrossEntropy):
        targets = targets[:, 0].long()
    weights = torch.from_numpy(RNG.uniform(size=40))
    solver = build_solver(network, settings, Loss(objective, 1.0, 1.0))
    assert isinstance(solver, LBFGS)
    batch = Batch(torch.from_numpy(X), targets, weights, torch.arange(40))
    solver.batch = CurrentBatch(batch, 40, float(weights.sum()))
    with torch.no_grad():
        evaluate = solver._evaluation()
        start = torch.nn.utils.parameters_to_vector(network.parameters()).numpy()
        value, gradient = evaluate(start)
        losses = objective.loss(network(batch.inputs), targets)
        squares = sum(float(linear.weight.square().sum()) for linear in linears(network))
        total = float((weights * losses).sum()) + 0.35 * squares
        assert value == pytest.approx(total / float(weights.sum()))

        def loss_only(vector: npt.NDArray[np.float64]) -> float:
            return evaluate(vector)[0]

        numerical = approx_fprime(start, loss_only, 1e-6)
    np.testing.assert_allclose(gradient, numerical, atol=2e-5)


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_lbfgs_reaches_the_minimum_of_a_convex_problem(kind: str) -> None:
    """Ridge and logistic regression, as an MLP without hidden layers."""
    y = (X[:, 0] + X[:, 1] > 0.2).astype(int) if kind == "MLPClassifier" else X @ [1.0, -2.0, 0.5]
    options: dict[str, object] = {"solver": "lbfgs", "alpha": 3.0, "tol": 1e-9, "max_iter": 500}
    ours = (MLPClassifier if kind == "MLPClassifier" else MLPRegressor)(random_state=0)
    ours.set_params(hidden_layer_sizes=(), **options).fit(X, y)
    if kind == "MLPRegressor":  # the solution in closed form
        centered = X - X.mean(axis=0)
        expected = np.linalg.solve(centered.T @ centered + 3.0 * np.eye(3), centered.T @ y)
        np.testing.assert_allclose(ours.coefs_[0][:, 0], expected, rtol=1e-4)
        return
    gradient = X.T @ (ours.predict_proba(X)[:, 1] - y) + 3.0 * ours.coefs_[0][:, 0]
    np.testing.assert_allclose(gradient / len(X), 0.0, atol=1e-5)


@pytest.mark.parametrize("solver", ["adamw", "muon", "rmsprop"])
def test_the_solvers_of_mlpkit_are_its_optimizers(solver: OptimizerName) -> None:
    """The oracle is a loop over full batches; rmsprop has the penalty, the others decay."""
    classifier = MLPClassifier(8, solver=solver, alpha=2.0, max_iter=1, random_state=0)
    options: dict[str, object] = {"learning_rate_init": 0.01, "shuffle": False}
    classifier.set_params(**options).fit(IRIS, SPECIES)
    fitted = MLPClassifier(8, solver=solver, alpha=2.0, max_iter=12, random_state=0)
    fitted.set_params(**options).fit(IRIS, SPECIES)

    assert isinstance(classifier.model_, MLP)
    network = MLP.from_config(classifier.model_.config, dtype=torch.float64)
    random = np.random.RandomState(0)
    with torch.no_grad():
        for linear in linears(network):
            bound = np.sqrt(6.0 / (linear.in_features + linear.out_features))
            shape = (linear.in_features, linear.out_features)
            linear.weight.copy_(torch.from_numpy(random.uniform(-bound, bound, shape)).T)
            linear.bias.copy_(torch.from_numpy(random.uniform(-bound, bound, shape[1])))
    is_decoupled = solver != "rmsprop"
    config = OptimizerConfig(name=solver, lr=0.01, weight_decay=2.0 if is_decoupled else 0.0)
    optimizer = build_optimizer(network, config)
    for expected in fitted.loss_curve_:
        loss = CrossEntropy().loss(network(torch.from_numpy(IRIS)), torch.from_numpy(SPECIES))
        total = loss.mean()
        if not is_decoupled:
            total = total + sum(one.weight.square().sum() for one in linears(network)) / len(IRIS)
        assert total.item() == pytest.approx(expected, rel=1e-9)
        optimizer.zero_grad()
        torch.autograd.backward(total)
        optimizer.step()


@pytest.mark.parametrize("solver", ["sgd", "adam", "adamw", "muon", "rmsprop"])
def test_a_pickled_estimator_continues_with_the_state_of_its_solver(solver: str) -> None:
    regressor = MLPRegressor(hidden_layer_sizes=4, solver=solver, random_state=0)
    for _ in range(3):
        regressor.partial_fit(X, X[:, 0])
    copied = pickle.loads(pickle.dumps(regressor))
    for one in (regressor, copied):
        one.partial_fit(X, X[:, 0])
    assert copied.loss_curve_ == regressor.loss_curve_
    for mine, other in zip(regressor.coefs_, copied.coefs_, strict=True):
        np.testing.assert_array_equal(mine, other)
    assert not np.shares_memory(regressor.coefs_[0], copied.coefs_[0])


def momentum_curve(estimator: object) -> npt.NDArray[np.float64]:
    """Return the losses of a fit whose learning rate changes in each iteration."""
    fitted = estimator.fit(X, X[:, 0])  # type: ignore[attr-defined]
    return np.asarray(fitted.loss_curve_)


@pytest.mark.parametrize("momentum", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("nesterov", [False, True])
def test_the_velocity_of_sgd_contains_the_learning_rate(momentum: float, nesterov: bool) -> None:
    options: dict[str, object] = {
        "hidden_layer_sizes": 4,
        "solver": "sgd",
        "learning_rate": "invscaling",
        "learning_rate_init": 0.1,
        "max_iter": 20,
        "momentum": momentum,
        "nesterovs_momentum": nesterov,
        "random_state": 0,
    }
    expected = momentum_curve(theirs.MLPRegressor(**options))
    found = momentum_curve(MLPRegressor().set_params(**options))
    np.testing.assert_allclose(found, expected, rtol=1e-10)
