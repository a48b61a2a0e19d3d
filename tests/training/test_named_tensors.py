"""The tensors of a model by name are the objects that the model has."""

from __future__ import annotations

from typing import cast

import torch
from tests.training.scenario import network
from torch import nn

from mlpkit.training._named_tensors import copied_state, named_tensors


def test_the_names_are_those_of_the_state_dict() -> None:
    """Every parameter and buffer is there once, and is the tensor of the model itself."""
    model = network()
    found = named_tensors(model)
    assert found.keys() == model.state_dict().keys()
    assert found["0.weight"] is model[0].weight
    assert found["1.running_mean"] is model[1].running_mean


def test_buffers_outside_the_state_dict_and_shared_parameters() -> None:
    """A buffer that is not saved is there too; a shared parameter has its first name."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    nn.Module.register_buffer(model, "scale", torch.ones(2), persistent=False)
    assert named_tensors(model).keys() == {"0.weight", "0.bias", "1.bias", "scale"}


class WithExtraState(nn.Linear):
    def get_extra_state(self) -> dict[str, list[int]]:
        return self.extra

    extra: dict[str, list[int]]


def test_a_copied_state_shares_nothing_with_the_model() -> None:
    model = WithExtraState(2, 2)
    model.extra = {"seen": [1]}
    found = copied_state(model)
    assert found.keys() == {"weight", "bias", "_extra_state"}
    model.extra["seen"].append(2)
    with torch.no_grad():
        expected = model.weight.clone()
        model.weight.zero_()
    assert torch.equal(found["weight"], expected)
    assert cast("object", found["_extra_state"]) == {"seen": [1]}
