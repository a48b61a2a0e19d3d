"""Muon for some groups and AdamW for others make the steps of both, as one optimizer."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from mlpkit.training import OptimizerConfig, build_optimizer
from mlpkit.training.optim import set_initial_lr
from mlpkit.training.optim._muon_with_adamw import MuonWithAdamW
from mlpkit.training.optim._optimizers import set_lr


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))


def parts(model: nn.Sequential) -> tuple[Muon, AdamW]:
    """Return Muon for the hidden matrices and AdamW for everything else."""
    named = dict(model.named_parameters())
    hidden = [named.pop("0.weight"), named.pop("2.weight")]
    return Muon(hidden, lr=0.02, weight_decay=0.1), AdamW(list(named.values()), lr=0.003)


def loss_of(model: nn.Module, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    loss: Tensor = model(torch.randn(8, 4, generator=generator)).square().sum()
    return loss


def step(model: nn.Module, *optimizers: Optimizer, seed: int = 0) -> None:
    """Make one step on random data."""
    model.zero_grad()
    torch.autograd.backward(loss_of(model, seed))
    for optimizer in optimizers:
        optimizer.step()


def assert_same(one: nn.Module, other: nn.Module) -> None:
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_its_steps_are_those_of_both() -> None:
    model = network()
    other = copy.deepcopy(model)
    both, separate = MuonWithAdamW(*parts(model)), parts(other)
    for seed in range(4):
        step(model, both, seed=seed)
        step(other, *separate, seed=seed)
    assert_same(model, other)
    assert [len(group["params"]) for group in both.param_groups] == [2, 4]
    assert [group["lr"] for group in both.param_groups] == [0.02, 0.003]


def test_its_state_makes_the_round_trip() -> None:
    """One state dict holds the momentum of both; a fresh optimizer continues the run."""
    model = network()
    both = MuonWithAdamW(*parts(model))
    step(model, both)
    resumed = copy.deepcopy(model)
    other = MuonWithAdamW(*parts(resumed))
    other.load_state_dict(copy.deepcopy(both.state_dict()))
    assert len(both.state) == 6
    for seed in range(1, 4):
        step(model, both, seed=seed)
        step(resumed, other, seed=seed)
    assert_same(model, resumed)


def test_after_loading_the_schedule_still_drives_both() -> None:
    """Loading makes new groups; both optimizers must work on them."""
    model = network()
    optimizer = build_optimizer(model, OptimizerConfig(name="muon", lr=0.5))
    step(model, optimizer)
    optimizer.load_state_dict(optimizer.state_dict())
    set_lr(optimizer, 0.0)
    before = copy.deepcopy(model)
    step(model, optimizer)
    assert_same(model, before)


def test_one_schedule_drives_both() -> None:
    model = network()
    both = MuonWithAdamW(*parts(model))
    set_initial_lr(both)
    set_lr(both, 0.5)
    assert [group["lr"] for group in both.param_groups] == [0.01, 0.0015]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    both.param_groups[1]["lr"] = 0.0
    step(model, both)
    same = {name for name, value in model.state_dict().items() if torch.equal(value, before[name])}
    assert same == before.keys() - {"0.weight", "2.weight"}


def test_a_closure_is_called_once_with_gradients() -> None:
    model = network()
    both = MuonWithAdamW(*parts(model))
    calls: list[float] = []

    def closure() -> float:
        model.zero_grad()
        loss = loss_of(model, 0)
        torch.autograd.backward(loss)
        calls.append(loss.item())
        return loss.item()

    with torch.no_grad():
        found = both.step(closure)
    assert calls == [found]
    assert found is not None
    assert loss_of(model, 0).item() != pytest.approx(found)


Pair = tuple[nn.Sequential, Optimizer]


def pickled(pair: Pair) -> Pair:
    found: Pair = pickle.loads(pickle.dumps(pair))
    return found


def saved(pair: Pair) -> Pair:
    file = io.BytesIO()
    torch.save(pair, file)
    file.seek(0)
    found: Pair = torch.load(file, weights_only=False)
    return found


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled, saved])
@pytest.mark.parametrize("is_built", [True, False], ids=["built", "torch"])
def test_a_copy_makes_the_same_steps(copied: Callable[[Pair], Pair], is_built: bool) -> None:
    """A copy of model and optimizer shares nothing with them, and all three end with equal bits."""
    model = network()
    config = OptimizerConfig(name="muon", lr=0.02, weight_decay=0.1, adamw_lr=0.003)
    both = build_optimizer(model, config) if is_built else MuonWithAdamW(*parts(model))
    for seed in range(2):
        step(model, both, seed=seed)
    other, other_both = copied((model, both))
    third, third_both = copied((other, other_both))
    before = copy.deepcopy(model)
    for seed in range(2, 5):
        step(other, other_both, seed=seed)
    assert_same(model, before)
    for seed in range(2, 5):
        step(model, both, seed=seed)
        step(third, third_both, seed=seed)
    assert_same(model, other)
    assert_same(model, third)
    set_initial_lr(other_both)
    set_lr(other_both, 0.0)
    stopped = copy.deepcopy(other)
    step(other, other_both)
    assert_same(other, stopped)


@pytest.mark.parametrize("use_muon", [True, False])
def test_a_group_that_is_added_later_is_trained(use_muon: bool) -> None:
    """With the options of the optimizer that it joins, as if it had been added to that one."""
    model, extra = network(), nn.Parameter(torch.randn(4, 6))
    other, other_extra = copy.deepcopy((model, extra))

    def loss(net: nn.Module, matrix: Tensor, seed: int) -> Tensor:
        return loss_of(net, seed) * (1.0 + matrix.square().sum())

    both, (muon, adamw) = MuonWithAdamW(*parts(model)), parts(other)
    step(model, both)
    step(other, muon, adamw)
    given: dict[str, object] = {"params": [extra], "lr": 0.5}
    both.add_param_group({**given, "use_muon": True} if use_muon else given)
    (muon if use_muon else adamw).add_param_group({"params": [other_extra], "lr": 0.5})
    for seed in range(3):
        for net, matrix, optimizers in (
            (model, extra, (both,)),
            (other, other_extra, (muon, adamw)),
        ):
            net.zero_grad()
            matrix.grad = None
            torch.autograd.backward(loss(net, matrix, seed))
            for optimizer in optimizers:
                optimizer.step()
    assert_same(model, other)
    assert torch.equal(extra, other_extra)
    assert [group["use_muon"] for group in both.param_groups] == [True, False, use_muon]


def test_muon_refuses_a_vector_that_is_added_later() -> None:
    """Its kernel fails at the next step; the groups are those of before."""
    model = network()
    both = MuonWithAdamW(*parts(model))
    vector = nn.Parameter(torch.zeros(3))
    rule = r"^use_muon must be False for parameters that are not matrices, got shapes \[\(3,\)\]$"
    with pytest.raises(ValueError, match=rule):
        both.add_param_group({"params": (vector for _ in range(1)), "use_muon": True})
    assert len(both.param_groups) == 2
    step(model, both)
    both.add_param_group({"params": vector})
    assert both.param_groups[2]["lr"] == 0.003


def test_a_state_dict_of_an_older_version_is_completed() -> None:
    """Missing flags get torch's defaults, and a number of steps becomes a tensor, as in AdamW."""
    model = network()
    other = copy.deepcopy(model)
    both, (muon, adamw) = MuonWithAdamW(*parts(model)), parts(other)
    step(model, both)
    step(other, muon, adamw)
    state: dict[str, Any] = copy.deepcopy(both.state_dict())
    newer = ("maximize", "foreach", "capturable", "differentiable", "fused", "use_muon")
    for group in state["param_groups"]:
        for name in (*newer, "decoupled_weight_decay"):
            group.pop(name, None)
    for entry in state["state"].values():
        if "step" in entry:
            entry["step"] = int(entry["step"])
    both.load_state_dict(state)
    for seed in range(1, 4):
        step(model, both, seed=seed)
        step(other, muon, adamw, seed=seed)
    assert_same(model, other)
    assert [group["use_muon"] for group in both.param_groups] == [True, False]


def test_every_hook_is_called_once_per_step() -> None:
    """Global hooks and those of the object see one optimizer, as with one of torch."""
    model = network()
    both = MuonWithAdamW(*parts(model))
    calls: list[tuple[str, object]] = []

    def hook(name: str) -> Callable[..., None]:
        return lambda optimizer, _args, _kwargs: calls.append((name, optimizer))

    handles = [
        register_optimizer_step_pre_hook(hook("before")),
        both.register_step_pre_hook(hook("before, its own")),
        both.register_step_post_hook(hook("after, its own")),
        register_optimizer_step_post_hook(hook("after")),
    ]
    try:
        step(model, both)
        step(model, both)
    finally:
        for handle in handles:
            handle.remove()
    names = ["before", "before, its own", "after, its own", "after"]
    assert calls == [(name, both) for name in names * 2]


def test_the_norms_of_parametrized_weights_are_no_matrices() -> None:
    """They are vectors of the shape (H, 1), also that of the output layer."""
    model = network()
    for index in (0, 2, 4):
        nn.utils.parametrizations.weight_norm(model[index])
    names = {parameter: name for name, parameter in model.named_parameters()}
    optimizer = build_optimizer(model, OptimizerConfig(name="muon"))
    found = {names[one] for one in optimizer.param_groups[0]["params"]}
    assert found == {f"{index}.parametrizations.weight.original1" for index in (0, 2)}
