"""Loss and gradient at the outputs against autograd, to the bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mlpkit.training import (
    BinaryCrossEntropy,
    CrossEntropy,
    GaussianNLL,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
    OutputObjective,
    ScaledTargets,
)
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("pos_weight", [None, 2.3, (0.1, 2.0, 5.0, 1.0)], ids=str)
@pytest.mark.parametrize("shape", [(37,), (37, 1), (37, 4)], ids=str)
def test_labels(
    shape: tuple[int, ...], pos_weight: float | tuple[float, ...] | None, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    if isinstance(pos_weight, tuple):
        pos_weight = pos_weight[: shape[1] if len(shape) > 1 else 1]
    outputs, targets = (10 * torch.randn(shape)).to(dtype), torch.rand(shape)
    weights = torch.rand(37) if dtype != torch.float64 else torch.rand(37).double()
    objective = BinaryCrossEntropy(pos_weight=pos_weight)
    assert_as_autograd(objective, outputs, targets, weights)
    assert_as_autograd(objective, outputs, targets.round(), weights)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(37,), (37, 1), (37, 4), (37, 2, 3)], ids=str)
@pytest.mark.parametrize("kind", ["plain", "one scale", "scales"])
@pytest.mark.parametrize(
    "base", [MeanSquaredError(), MeanAbsoluteError(), Huber(delta=0.5)], ids=str
)
def test_regressions(
    base: MeanSquaredError | MeanAbsoluteError | Huber,
    kind: str,
    shape: tuple[int, ...],
    dtype: torch.dtype,
) -> None:
    torch.manual_seed(0)
    outputs, targets = (3 * torch.randn(shape)).to(dtype), torch.randn(shape)
    weights = torch.rand(37) if dtype != torch.float64 else torch.rand(37).double()
    objective: OutputObjective = base
    if kind != "plain":
        scales = (0.3 + torch.rand(shape[1:]).flatten()).tolist()
        objective = ScaledTargets(base, scale=3.3 if kind == "one scale" else tuple(scales))
    assert_as_autograd(objective, outputs, targets, weights)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_distributions_of_targets(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    outputs, targets = torch.randn(9, 6).to(dtype), torch.randn(9, 3)
    assert_as_autograd(GaussianNLL(), outputs, targets, torch.rand(9))


def test_entries_whose_products_would_be_subnormal_are_zero() -> None:
    one, zero = torch.ones(1), torch.zeros(1, dtype=torch.int64)
    logits = torch.tensor([[0.0, -50.0, -80.0]])  # gradients 1e-22 and 1e-35
    _, gradient = loss_and_gradient(CrossEntropy(), logits, zero, one)
    torch.testing.assert_close(gradient, torch.tensor([[0.0, 1.9287e-22, 0.0]]), rtol=1e-3, atol=0)
    _, gradient = loss_and_gradient(BinaryCrossEntropy(), logits, torch.zeros(1, 3), one)
    wanted = torch.tensor([[1 / 6, 6.4292e-23, 0.0]])
    torch.testing.assert_close(gradient, wanted, rtol=1e-3, atol=0)
    assert_as_autograd(CrossEntropy(), logits.double(), zero, one.double())
    infinite = torch.tensor([[torch.nan, torch.inf, 0.0]])
    _, gradient = loss_and_gradient(BinaryCrossEntropy(), infinite, torch.zeros(1, 3), one)
    assert gradient[0, 0].isnan()


def test_no_gradient_is_written_to_the_outputs() -> None:
    for objective in (MeanSquaredError(), BinaryCrossEntropy()):
        outputs, targets = torch.randn(9, 4), torch.rand(9, 4)
        before = outputs.clone(), targets.clone()
        loss_and_gradient(objective, outputs, targets, torch.rand(9))
        assert torch.equal(outputs, before[0])
        assert torch.equal(targets, before[1])


@pytest.mark.parametrize(
    "objective",
    [
        BinaryCrossEntropy(pos_weight=(1.0, 2.0, 3.0, 4.0)),
        ScaledTargets(MeanSquaredError(), scale=(1.0, 2.0, 3.0, 4.0)),
        ScaledTargets(Huber(), scale=2.0),
        GaussianNLL(),
    ],
    ids=str,
)
def test_many_networks_with_objectives_of_several_targets(objective: OutputObjective) -> None:
    torch.manual_seed(0)
    outputs, weights = torch.randn(3, 4, 7).mT, torch.rand(3, 7)
    targets = torch.rand(3, 7, 2 if isinstance(objective, GaussianNLL) else 4)
    losses, gradient = stacked_loss_and_gradient(objective, outputs, targets, weights)
    for k in range(3):
        own = loss_and_gradient(objective, outputs[k], targets[k], weights[k])
        torch.testing.assert_close((losses[k], gradient[k]), own)


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
