"""The Huber loss of each example against torch."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlpkit import _serialization
from mlpkit.data import Batch
from mlpkit.training import Huber, Objective, OutputObjective


@pytest.mark.parametrize("delta", [0.3, 1.0, 5.0])
@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 3), (4, 2, 3)])
def test_equals_torch_for_each_example(shape: tuple[int, ...], delta: float) -> None:
    outputs = (3 * torch.randn(shape, dtype=torch.float64)).requires_grad_()
    targets = torch.randn(shape, dtype=torch.float64)
    actual = Huber(delta=delta).loss(outputs, targets)
    expected = torch.stack(
        [F.huber_loss(outputs[row], targets[row], delta=delta) for row in range(4)]
    )
    torch.testing.assert_close(actual, expected)
    (got,) = torch.autograd.grad(actual.sum(), outputs)
    (wanted,) = torch.autograd.grad(expected.sum(), outputs)
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("delta", [0.3, 1.0])
def test_passes_gradcheck(delta: float) -> None:
    outputs = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)
    targets = torch.randn(6, 2, dtype=torch.float64)

    def loss(predicted: Tensor) -> Tensor:
        return Huber(delta=delta).loss(predicted, targets)

    assert torch.autograd.gradcheck(loss, outputs)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_outputs_are_widened_first(dtype: torch.dtype) -> None:
    outputs, values = torch.randn(5, 2).to(dtype), torch.randn(5, 2)
    expected = F.huber_loss(outputs.float(), values, reduction="none").mean(dim=1)
    torch.testing.assert_close(Huber().loss(outputs, values), expected, rtol=0, atol=0)


def test_many_networks_have_the_losses_of_each() -> None:
    outputs, targets = torch.randn(3, 5, 2), torch.randn(3, 5, 2)
    expected = F.huber_loss(outputs, targets, reduction="none").mean(2)
    torch.testing.assert_close(torch.vmap(Huber().loss)(outputs, targets), expected)


@pytest.mark.parametrize("delta", [0.0, -1.0, math.nan, math.inf])
def test_delta_out_of_range(delta: float) -> None:
    with pytest.raises(ValueError, match="delta must be a finite number greater than 0, got"):
        Huber(delta=delta)


def test_it_is_an_objective_of_outputs_and_a_plain_configuration() -> None:
    objective = Huber(delta=2.0)
    assert isinstance(objective, Objective)
    assert isinstance(objective, OutputObjective)
    assert objective.task == "regression"
    assert _serialization.from_json(Huber, _serialization.to_json(objective)) == objective
    model, inputs, targets = nn.Linear(3, 2), torch.randn(5, 3), torch.randn(5, 2)
    expected = objective.loss(model(inputs), targets)
    assert torch.equal(objective(model, Batch(inputs, targets, None, torch.arange(5))), expected)
    assert objective.predictions(targets, targets) is targets
