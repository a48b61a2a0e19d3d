"""L-BFGS by name against torch's, SciPy's and scikit-learn's, and where values are not finite."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from tests.training.scenario import differences
from torch import Tensor, nn
from torch.optim import LBFGS

from mlpkit import MLP
from mlpkit.data import LabeledTensors
from mlpkit.training import OptimizerConfig, Trainer, TrainerConfig, build_optimizer
from mlpkit.training.optim import EagerLBFGS, LineSearchError


def lbfgs(model: nn.Module, **options: float) -> EagerLBFGS:
    config = OptimizerConfig(name="lbfgs", **options)  # type: ignore[arg-type]  # numbers
    optimizer = build_optimizer(model, config)
    assert isinstance(optimizer, EagerLBFGS)
    return optimizer


def closure_of(model: nn.Module, loss_of: Callable[[], Tensor]) -> Callable[[], Tensor]:
    def closure() -> Tensor:
        model.zero_grad()
        loss = loss_of()
        torch.autograd.backward(loss)
        return loss

    return closure


def problem(number: int = 60) -> LabeledTensors:
    """Return three overlapping classes in float64."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(number, 4, generator=generator, dtype=torch.float64)
    noise = torch.randn(number, 3, generator=generator, dtype=torch.float64)
    return LabeledTensors(inputs, (inputs[:, :3] + noise).argmax(dim=1))


def test_steps_and_state_are_those_of_torch() -> None:
    """A nonconvex loss, over several steps and more iterations than the history holds."""
    data = problem()
    model = MLP(4, (5,), 3, generator=torch.Generator().manual_seed(0)).double()
    other = copy.deepcopy(model)
    weights = [one for one in other.parameters() if one.ndim == 2]
    own_order = [*weights, *(one for one in other.parameters() if one.ndim == 1)]
    named = lbfgs(model, max_iter=7, history_size=5, lr=0.5)
    own = LBFGS(own_order, max_iter=7, history_size=5, lr=0.5, line_search_fn="strong_wolfe")
    untyped: Any = own
    for _ in range(3):
        for network, optimizer in ((model, named), (other, untyped)):

            def loss(network: nn.Module = network) -> Tensor:
                return F.cross_entropy(network(data.inputs), data.targets)

            result = optimizer.step(closure_of(network, loss))
            assert isinstance(result, Tensor)
    assert differences(model.state_dict(), other.state_dict()) == []
    state = own.state_dict()
    del state["state"][0]["al"]  # scratch memory
    state["param_groups"][0] |= {"initial_lr": 0.5, "weight_decay": (0.0,) * 4}
    assert differences(named.state_dict(), state) == []


@pytest.mark.parametrize("gradients", ["auto", "autograd"])
@pytest.mark.parametrize("accumulation", [1, 7])
def test_a_run_ends_at_the_minimum_of_scikit_learn(gradients: str, accumulation: int) -> None:
    """The biases do not decay, as the intercepts of LogisticRegression."""
    data = problem()
    model = MLP(4, (), 3, generator=torch.Generator().manual_seed(0)).double()
    config = TrainerConfig(
        epochs=4,
        optimizer=OptimizerConfig(name="lbfgs", weight_decay=0.05, tolerance_change=0.0),
        gradient_accumulation_steps=accumulation,
        gradients=gradients,  # type: ignore[arg-type]  # one of the two
        label_smoothing=0.0,
        progress=False,
    )
    trainer = Trainer(model, config)
    result = trainer.fit(data)
    assert trainer.config.batch_size == -(-60 // accumulation)
    assert result.state.step == 4
    expected = LogisticRegression(C=1 / (60 * 0.05), tol=1e-10, max_iter=1000)
    expected.fit(data.inputs.numpy(), data.targets.numpy())
    assert model.head is not None
    np.testing.assert_allclose(model.head.weight.detach(), expected.coef_, atol=1e-5)


def test_a_step_ends_at_the_minimum_of_scipy() -> None:
    data = problem()
    model = nn.Linear(4, 3).double()
    optimizer = lbfgs(model, weight_decay=0.1, max_iter=100, tolerance_change=0.0)
    loss = closure_of(model, lambda: F.cross_entropy(model(data.inputs), data.targets))
    start = optimizer.step(loss)

    def objective(flat: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[float, Any]:
        point = torch.tensor(flat, requires_grad=True)
        logits = data.inputs @ point[:12].view(3, 4).T + point[12:]
        value = F.cross_entropy(logits, data.targets) + 0.05 * point.square().sum()
        return value.item(), torch.autograd.grad(value, point)[0].numpy()

    expected = minimize(objective, np.zeros(15), jac=True, method="L-BFGS-B", tol=1e-14)
    found = torch.cat([model.weight.view(-1), model.bias]).detach()
    np.testing.assert_allclose(found, expected.x, atol=1e-6)
    assert start.item() > loss().item()  # without the penalty, from before the step


class Point(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor([value], dtype=torch.float64))


@pytest.mark.parametrize("outside", [math.inf, math.nan])
def test_a_trial_point_that_is_not_finite_is_avoided(outside: float) -> None:
    """X - log(x) has its minimum at 1; the first trial point, 0.1 - 10 * t, may be negative."""
    point = Point(3.0)
    tried = []

    def loss() -> Tensor:
        tried.append(point.x.item())
        x = point.x
        barrier = 20.0 * x - torch.log(x) if x.item() > 0.0 else x * outside
        return barrier.sum()

    optimizer = lbfgs(point, max_iter=50)
    optimizer.step(closure_of(point, loss))
    assert min(tried) < 0.0
    assert point.x.item() == pytest.approx(0.05, rel=1e-4)


def test_a_start_that_is_not_finite_changes_nothing() -> None:
    point = Point(3.0)
    optimizer = lbfgs(point)
    with pytest.raises(LineSearchError, match="loss inf, gradient norm inf"):
        optimizer.step(closure_of(point, lambda: (point.x * math.inf).sum()))
    assert point.x.item() == 3.0
    assert optimizer.state_dict()["state"] == {0: {}}


@pytest.mark.parametrize("kind", ["cliff", "error", "interrupt"])
def test_a_step_that_fails_restores_parameters_and_state(kind: str) -> None:
    """All trial points on a cliff, or an exception within a line search."""
    point = Point(3.0)
    optimizer = lbfgs(point, max_iter=2)
    optimizer.step(closure_of(point, lambda: point.x.cosh().sum()))
    before = copy.deepcopy(optimizer.state_dict())
    at = point.x.item()

    def loss() -> Tensor:
        if point.x.item() == at:
            return point.x.exp().sum()
        if kind == "error":
            raise RuntimeError
        if kind == "interrupt":
            raise KeyboardInterrupt
        return (point.x * math.nan).sum()

    expected = {"cliff": LineSearchError, "error": RuntimeError, "interrupt": KeyboardInterrupt}
    with pytest.raises(expected[kind]):
        optimizer.step(closure_of(point, loss))
    assert point.x.item() == at
    assert differences(before, optimizer.state_dict()) == []


def test_a_direction_that_is_not_finite_changes_nothing() -> None:
    """Torch adds 0 times the direction where no trial point is good, which is not a number."""
    point = Point(3.0)
    optimizer = lbfgs(point, max_iter=10)
    closure = closure_of(point, lambda: point.x.cosh().sum())
    optimizer.step(closure)
    at = point.x.item()
    optimizer.state[point.x]["ro"][0].fill_(math.inf)
    point.x.data.fill_(at := at + 1.0)
    with pytest.raises(LineSearchError):
        optimizer.step(closure)
    assert point.x.item() == at


def test_a_gradient_whose_sum_overflows_changes_nothing() -> None:
    """The first step size, 1 / |gradient|, is 0."""
    model = nn.Linear(40, 1, bias=False)
    start = model.weight.detach().clone()
    loss = closure_of(model, lambda: 1e18 * (model.weight * 1e18 * 1e1).sum())
    with pytest.raises(LineSearchError):
        lbfgs(model).step(loss)
    assert torch.equal(model.weight, start)


def test_a_loaded_history_is_shortened() -> None:
    point = Point(3.0)
    long = lbfgs(point, max_iter=10)
    long.step(closure_of(point, lambda: point.x.cosh().sum()))
    kept = len(long.state[point.x]["old_dirs"])
    assert kept > 1
    short = lbfgs(point, max_iter=1, history_size=1)
    short.load_state_dict({**long.state_dict(), "param_groups": short.state_dict()["param_groups"]})
    short.step(closure_of(point, lambda: point.x.cosh().sum()))
    assert [len(short.state[point.x][name]) for name in ("old_dirs", "old_stps", "ro")] == [1] * 3


def test_a_step_needs_a_closure() -> None:
    with pytest.raises(TypeError, match="closure must be given for optimizer 'lbfgs', got None"):
        lbfgs(Point(1.0)).step()
