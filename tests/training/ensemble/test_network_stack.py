"""Networks in a stack compute what they compute alone, and are themselves again afterwards."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from mlpkit.data import Batch
from mlpkit.training import BatchLike, CrossEntropy
from mlpkit.training.ensemble._network_stack import NetworkStack

K = 4


def networks() -> list[nn.Module]:
    return [
        nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))
        for _ in range(K)
    ]


def batch(*lead: int) -> BatchLike:
    return Batch(
        torch.randn(*lead, 9, 6),
        torch.randint(3, (*lead, 9)),
        None,
        torch.arange(9).expand(*lead, 9),
    )


@pytest.mark.parametrize("shared", [True, False])
def test_losses_and_gradients_are_those_of_each_network(shared: bool) -> None:
    models = networks()
    others = copy.deepcopy(models)
    whole = batch() if shared else batch(K)
    stack = NetworkStack(models, CrossEntropy())
    stack.probe(whole, shared=shared)
    with stack:
        losses = stack.losses(whole, (), shared=shared)
        gradients = torch.autograd.grad(losses.sum(), list(stack.parameters.values()))
    for k, other in enumerate(others):
        inputs = whole.inputs if shared else whole.inputs[k]
        targets = whole.targets if shared else whole.targets[k]
        alone = CrossEntropy().loss(other(inputs), targets)
        torch.testing.assert_close(losses[k], alone)
        own = torch.autograd.grad(alone.sum(), list(other.parameters()))
        for gradient, wanted in zip(gradients, own, strict=True):
            torch.testing.assert_close(gradient[k], wanted, rtol=1e-5, atol=1e-5)
        for buffer, wanted_buffer in zip(models[k].buffers(), other.buffers(), strict=True):
            torch.testing.assert_close(buffer, wanted_buffer)


def test_trying_leaves_no_trace() -> None:
    models = networks()
    before = [copy.deepcopy(model.state_dict()) for model in models]
    stack = NetworkStack(models, CrossEntropy())
    stack.probe(batch(), shared=True)
    with stack:
        pass
    for model, old in zip(models, before, strict=True):
        for name, value in model.state_dict().items():
            assert torch.equal(value, old[name])


def test_the_networks_are_views_of_the_stack_within_the_block() -> None:
    models = networks()
    stack = NetworkStack(models, CrossEntropy())
    stack.probe(batch(), shared=True)
    weight = next(iter(stack.parameters.values()))
    with stack:
        weight.data.fill_(3.0)
        assert all(bool((next(model.parameters()) == 3.0).all()) for model in models)
        with torch.no_grad():
            next(models[2].parameters()).fill_(4.0)
        assert weight.flatten(1).mean(1).tolist() == [3.0, 3.0, 4.0, 3.0]
    weight.data.fill_(5.0)
    assert torch.unique(next(models[2].parameters())).tolist() == [4.0]


def test_a_tensor_that_differs_in_one_network_is_stacked() -> None:
    class Scaled(nn.Module):
        scale: torch.Tensor

        def __init__(self, scale: float) -> None:
            super().__init__()
            self.linear = nn.Linear(6, 3)
            self.register_buffer("scale", torch.tensor(scale))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x * self.scale)  # type: ignore[no-any-return]

    models = [Scaled(1.0), Scaled(2.0)]
    whole = batch()
    stack = NetworkStack(models, CrossEntropy())
    stack.probe(whole, shared=True)
    losses = stack.losses(whole, (), shared=True)
    for one, model in zip(losses, models, strict=True):
        torch.testing.assert_close(one, CrossEntropy()(model, whole))
