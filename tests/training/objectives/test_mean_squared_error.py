"""The squared error of each example against torch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mlpkit.data import Batch
from mlpkit.training import MeanSquaredError, Objective, OutputObjective


class TestMeanSquaredError:
    @pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 3), (4, 2, 3)])
    def test_equals_torch_for_each_example(self, shape: tuple[int, ...]) -> None:
        outputs = torch.randn(shape, dtype=torch.float64, requires_grad=True)
        targets = torch.randn(shape, dtype=torch.float64)
        actual = MeanSquaredError().loss(outputs, targets)
        expected = torch.stack([F.mse_loss(outputs[row], targets[row]) for row in range(4)])
        torch.testing.assert_close(actual, expected)
        (got,) = torch.autograd.grad(actual.sum(), outputs)
        (wanted,) = torch.autograd.grad(expected.sum(), outputs)
        torch.testing.assert_close(got, wanted)

    def test_nothing_is_broadcast(self) -> None:
        """(N, 1) against (N,) would be an (N, N) table of wrong differences."""
        expected = (
            r"targets must be of the same shape as the output of the model, \(4, 1\), got \(4,\)"
        )
        batch = Batch(torch.zeros(4, 2), torch.zeros(4), None, torch.arange(4))
        with pytest.raises(ValueError, match=expected):
            MeanSquaredError()(nn.Linear(2, 1), batch)

    def test_integer_targets_are_refused(self) -> None:
        with pytest.raises(TypeError, match=r"targets must be floating-point, got torch\.int64"):
            MeanSquaredError().loss(torch.zeros(3), torch.zeros(3, dtype=torch.int64))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_outputs_are_widened_first(dtype: torch.dtype) -> None:
    outputs, values = torch.randn(5, 2).to(dtype), torch.randn(5, 2)
    squares = (outputs.float() - values).square().mean(dim=1)
    torch.testing.assert_close(MeanSquaredError().loss(outputs, values), squares, rtol=0, atol=0)


def test_it_is_an_objective_of_outputs() -> None:
    assert isinstance(MeanSquaredError(), Objective)
    assert isinstance(MeanSquaredError(), OutputObjective)
