"""The tensors of a model by name are the objects that the model has."""

from __future__ import annotations

import torch
from tests.training.scenario import network
from torch import nn

from mlpkit.training._named_tensors import named_tensors


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
