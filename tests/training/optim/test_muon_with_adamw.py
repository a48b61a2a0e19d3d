"""Muon for some groups and AdamW for others make the steps of both, as one optimizer."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer

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
