"""Parameter groups, and the registration of hand-written gradients by the type of a model."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mlpkit import SoftmaxClassifier
from mlpkit._protocols import (
    HasMaxNorm,
    HasParamGroups,
    find_backpropagation,
    find_stacked_backpropagation,
)
from mlpkit.data import Batch
from mlpkit.nn import MLP, ParamGroup


def test_an_optimizer_of_torch_accepts_a_group() -> None:
    """It uses the weight decay of the group, and ignores lr_factor."""
    linear = nn.Linear(2, 1, bias=False)
    group = ParamGroup(linear.parameters(), weight_decay=0.5, lr_factor=3.0)
    assert group.params == [linear.weight]
    assert (group.weight_decay, group.lr_factor) == (0.5, 3.0)
    before = linear.weight.detach().clone()
    linear.weight.grad = torch.zeros_like(before)
    torch.optim.SGD([group], lr=0.1).step()
    torch.testing.assert_close(linear.weight.detach(), before * (1 - 0.1 * 0.5))


@pytest.mark.parametrize(
    ("weight_decay", "lr_factor", "kind", "message"),
    [
        (-0.1, 1.0, ValueError, "weight_decay must be a finite number at least 0, got -0.1"),
        (math.nan, 1.0, ValueError, "weight_decay must be a finite number at least 0, got nan"),
        (True, 1.0, TypeError, "weight_decay must be a finite number at least 0, got True"),
        (0.0, 0.0, ValueError, "lr_factor must be a finite number greater than 0, got 0.0"),
    ],
)
def test_a_group_checks_its_numbers(
    weight_decay: float, lr_factor: float, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=f"^{message}"):
        ParamGroup([], weight_decay=weight_decay, lr_factor=lr_factor)


@pytest.mark.parametrize(
    "model", [MLP(2, (3,), 2), SoftmaxClassifier(MLP(2, (), 2), classes=("a", "b"))]
)
def test_the_networks_implement_the_protocols(model: nn.Module) -> None:
    assert isinstance(model, HasParamGroups)
    assert isinstance(model, HasMaxNorm)
    assert not isinstance(nn.Linear(2, 2), HasParamGroups | HasMaxNorm)


def test_a_batch_is_a_tuple_of_four() -> None:
    batch = Batch(torch.ones(1, 2), torch.zeros(1), None, torch.tensor([5]))
    inputs, targets, weights, indices = batch
    assert inputs is batch.inputs
    assert targets is batch.targets
    assert weights is None
    assert indices is batch.indices


class _Subclass(MLP):
    pass


def test_gradients_are_found_for_registered_types_only() -> None:
    """A subclass of MLP and a module of torch are differentiated by autograd."""
    model = MLP(4, (3,), 2)
    stacks = {each: nn.Parameter(torch.stack((each, each)).detach()) for each in model.parameters()}
    assert find_backpropagation(model) is not None
    assert find_stacked_backpropagation(model, stacks, shared=True) is not None
    for other in (_Subclass(4, (3,), 2), nn.Linear(4, 2)):
        assert find_backpropagation(other) is None
        assert find_stacked_backpropagation(other, stacks, shared=True) is None
