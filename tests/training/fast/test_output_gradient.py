"""Loss and gradient at the outputs against autograd, to the bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mlpkit.training import CrossEntropy, MeanSquaredError, OutputObjective
from mlpkit.training.fast._output_gradient import loss_and_gradient, stacked_loss_and_gradient


def assert_as_autograd(
    objective: OutputObjective, outputs: Tensor, targets: Tensor, weights: Tensor
) -> None:
    leaf = outputs.clone().requires_grad_()
    expected = objective.loss(leaf, targets)
    torch.autograd.backward((weights * expected).sum())
    losses, gradient = loss_and_gradient(objective, outputs, targets, weights)
    assert leaf.grad is not None
    assert torch.equal(losses, expected.detach())
    assert torch.equal(gradient, leaf.grad)
    assert not gradient.requires_grad
    assert not losses.requires_grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("smoothing", [0.0, 0.05, 0.1, 1.0])
def test_classes(dtype: torch.dtype, smoothing: float) -> None:
    torch.manual_seed(0)
    outputs, targets = (10 * torch.randn(37, 10)).to(dtype), torch.randint(0, 10, (37,))
    weights = torch.rand(37) if dtype != torch.float64 else torch.rand(37).double()
    assert_as_autograd(CrossEntropy(label_smoothing=smoothing), outputs, targets, weights)


def test_equal_weights_that_are_one_number_expanded() -> None:
    torch.manual_seed(0)
    each = (torch.ones(()) / 37).expand(37)
    outputs, targets = torch.randn(37, 10), torch.randint(0, 10, (37,))
    assert_as_autograd(CrossEntropy(), outputs, targets, each)
    assert_as_autograd(CrossEntropy(label_smoothing=0.1), outputs, targets, each)


def test_distributions_and_regression() -> None:
    torch.manual_seed(0)
    targets = torch.rand(9, 4).softmax(1)
    assert_as_autograd(CrossEntropy(), torch.randn(9, 4), targets, torch.rand(9))
    assert_as_autograd(MeanSquaredError(), torch.randn(9, 4), torch.randn(9, 4), torch.rand(9))


def test_infinite_logits_give_what_autograd_gives() -> None:
    outputs = torch.tensor([[torch.inf, 0.0], [0.0, 1.0]])
    losses, _ = loss_and_gradient(CrossEntropy(), outputs, torch.tensor([0, 1]), torch.ones(2))
    assert losses.isnan().tolist() == [True, False]


def test_a_class_out_of_range_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"targets must be class indices in \[0, 3\), got \[0, 3\]"
    ):
        loss_and_gradient(CrossEntropy(), torch.zeros(2, 3), torch.tensor([0, 3]), torch.ones(2))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["classes", "distributions", "regression", "one number"])
def test_many_networks_have_the_losses_and_gradients_of_each(smoothing: float, kind: str) -> None:
    torch.manual_seed(0)
    count, rows = 3, 7
    shape = (count, rows) if kind == "one number" else (count, rows, 4)
    outputs = torch.randn(shape).mT.contiguous().mT  # the examples last in memory
    objective: OutputObjective = CrossEntropy(label_smoothing=smoothing)
    targets = torch.randn(shape)
    if kind == "classes":
        targets = torch.randint(4, (rows,)).expand(count, rows)
    elif kind == "distributions":
        targets = targets.softmax(2)
    else:
        objective = MeanSquaredError()
    weights = torch.rand(count, rows)
    losses, gradient = stacked_loss_and_gradient(objective, outputs, targets, weights)
    for k in range(count):
        own = loss_and_gradient(objective, outputs[k], targets[k], weights[k])
        torch.testing.assert_close((losses[k], gradient[k]), own)


def test_a_class_out_of_range_is_named_among_many_networks() -> None:
    targets = torch.tensor([[0, 1], [2, 3]])
    with pytest.raises(
        ValueError, match=r"targets must be class indices in \[0, 3\), got \[0, 3\]"
    ):
        stacked_loss_and_gradient(CrossEntropy(), torch.zeros(2, 2, 3), targets, torch.ones(2, 2))
    with pytest.raises(ValueError, match=r"of shape \(2,\)"):
        stacked_loss_and_gradient(
            CrossEntropy(), torch.zeros(2, 2, 3), targets.unsqueeze(2), torch.ones(2, 2)
        )
