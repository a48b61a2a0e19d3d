"""The absolute error of each example against torch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mlpkit.data import Batch
from mlpkit.training import MeanAbsoluteError, Objective, OutputObjective


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 3), (4, 2, 3)])
def test_equals_torch_for_each_example(shape: tuple[int, ...]) -> None:
    outputs = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    targets = torch.randn(shape, dtype=torch.float64)
    actual = MeanAbsoluteError().loss(outputs, targets)
    expected = torch.stack([F.l1_loss(outputs[row], targets[row]) for row in range(4)])
    torch.testing.assert_close(actual, expected)
    (got,) = torch.autograd.grad(actual.sum(), outputs)
    (wanted,) = torch.autograd.grad(expected.sum(), outputs)
    torch.testing.assert_close(got, wanted)


def test_the_gradient_at_no_error_is_zero() -> None:
    outputs = torch.zeros(3, requires_grad=True)
    torch.autograd.backward(MeanAbsoluteError().loss(outputs, torch.tensor([0.0, 1.0, -1.0])).sum())
    assert outputs.grad is not None
    assert outputs.grad.tolist() == [0.0, -1.0, 1.0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_outputs_are_widened_first(dtype: torch.dtype) -> None:
    outputs, values = torch.randn(5, 2).to(dtype), torch.randn(5, 2)
    expected = (outputs.float() - values).abs().mean(dim=1)
    torch.testing.assert_close(MeanAbsoluteError().loss(outputs, values), expected, rtol=0, atol=0)


def test_many_networks_have_the_losses_of_each() -> None:
    outputs, targets = torch.randn(3, 5, 2), torch.randn(3, 5, 2)
    losses = torch.vmap(MeanAbsoluteError().loss)(outputs, targets)
    torch.testing.assert_close(losses, (outputs - targets).abs().mean(2))


def test_it_is_an_objective_of_outputs() -> None:
    objective = MeanAbsoluteError()
    assert isinstance(objective, Objective)
    assert isinstance(objective, OutputObjective)
    assert objective.task == "regression"
    model, inputs, targets = nn.Linear(3, 2), torch.randn(5, 3), torch.randn(5, 2)
    expected = objective.loss(model(inputs), targets)
    assert torch.equal(objective(model, Batch(inputs, targets, None, torch.arange(5))), expected)
    assert objective.predictions(targets, targets) is targets
