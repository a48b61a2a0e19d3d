"""Mixup against a loop over the definition."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import beta, binomtest, kstest
from torch import nn

from mlpkit.data import Batch
from mlpkit.training.objectives import (
    CrossEntropy,
    MeanSquaredError,
    Mixup,
    OutputObjective,
    task_of,
)


def batch(rows: int = 6) -> Batch:
    inputs = torch.randn(rows, 5, dtype=torch.float64)
    return Batch(inputs, torch.randint(0, 3, (rows,)), None, torch.arange(rows))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_equals_a_loop_with_mixed_targets(smoothing: float) -> None:
    """For each pair: mix the inputs, mix the one-hot targets, take the cross-entropy."""
    model, one = nn.Linear(5, 3).double(), batch()
    objective = Mixup(0.4, objective=CrossEntropy(label_smoothing=smoothing))
    torch.manual_seed(2)
    actual = objective(model, one)
    torch.manual_seed(2)
    mixed = objective.mix(one.inputs)
    share = mixed.lam.item()
    assert 0.0 < share < 1.0
    assert sorted(mixed.partners.tolist()) == list(range(6))
    targets = F.one_hot(one.targets, 3).double()
    for row, partner in enumerate(mixed.partners.tolist()):
        x = share * one.inputs[row] + (1 - share) * one.inputs[partner]
        y = share * targets[row] + (1 - share) * targets[partner]
        torch.testing.assert_close(mixed.inputs[row], x)
        expected = F.cross_entropy(model(x[None]), y[None], label_smoothing=smoothing)
        assert actual[row].item() == pytest.approx(expected.item(), rel=1e-12)


def test_mixes_any_objective_of_outputs() -> None:
    """The two losses of a regression, weighted, not the loss against the mixed target."""
    model, one = nn.Linear(5, 2).double(), batch()
    one = one._replace(targets=torch.randn(6, 2, dtype=torch.float64))
    objective = Mixup(1.0, objective=MeanSquaredError())
    torch.manual_seed(2)
    actual = objective(model, one)
    torch.manual_seed(2)
    mixed = objective.mix(one.inputs)
    outputs = model(mixed.inputs)
    own = (outputs - one.targets).square().mean(dim=1)
    other = (outputs - one.targets[mixed.partners]).square().mean(dim=1)
    torch.testing.assert_close(actual, mixed.lam * own + (1 - mixed.lam) * other)


@pytest.mark.parametrize("alpha", [0.01, 0.1, 0.4, 1.0, 4.0])
def test_the_share_has_the_beta_distribution(alpha: float) -> None:
    """A Kolmogorov-Smirnov test at a level of one in a thousand, on the lower half.

    Floating point has room for the density next to 0 and none next to 1; it is symmetric.
    """
    objective, inputs = Mixup(alpha), torch.zeros(2, 1)
    shares = [objective.mix(inputs).lam.item() for _ in range(3000)]
    lower = [share for share in shares if share < 0.5]
    assert binomtest(len(lower), len(shares)).pvalue > 1e-3
    cdf = beta(alpha, alpha).cdf
    assert kstest(lower, lambda share: 2.0 * cdf(share)).pvalue > 1e-3


def test_a_tiny_alpha_mixes_next_to_nothing_and_never_gives_nan() -> None:
    objective, inputs = Mixup(1e-3), torch.zeros(2, 1)
    shares = torch.stack([objective.mix(inputs).lam for _ in range(500)])
    assert torch.isfinite(shares).all()
    assert float(torch.minimum(shares, 1 - shares).mean()) < 0.01


def test_a_replayed_generator_mixes_the_same() -> None:
    """So a resumed training goes on exactly, and the next batch is mixed otherwise."""
    model, one = nn.Linear(5, 3).double(), batch()
    state = torch.get_rng_state()
    first, second = Mixup()(model, one), Mixup()(model, one)
    torch.set_rng_state(state)
    assert torch.equal(first, Mixup()(model, one))
    assert not torch.equal(first, second)


def test_evaluation_does_not_mix() -> None:
    objective = Mixup(0.3, objective=CrossEntropy(label_smoothing=0.1))
    logits, targets = torch.randn(4, 3), torch.randint(0, 3, (4,))
    expected = CrossEntropy(label_smoothing=0.1).loss(logits, targets)
    assert torch.equal(objective.loss(logits, targets), expected)
    assert isinstance(objective, OutputObjective)
    assert task_of(objective, targets) == "classification"
    assert task_of(Mixup(objective=MeanSquaredError()), logits) == "regression"
    assert repr(objective) == "Mixup(0.3, objective=CrossEntropy(label_smoothing=0.1))"


class TestRefusals:
    def test_alpha_out_of_range(self) -> None:
        with pytest.raises(ValueError, match=r"alpha .* greater than 0, got 0\.0"):
            Mixup(0.0)


def test_integers_are_mixed_as_the_numbers_that_they_are() -> None:
    """Pixels of uint8 mix like the same pixels as floats, from the same draws."""
    pixels = torch.randint(0, 256, (6, 5), dtype=torch.uint8)
    mixed = []
    for inputs in (pixels, pixels.float()):
        torch.manual_seed(3)
        mixed.append(Mixup(1.0).mix(inputs).inputs)
    assert mixed[0].dtype == torch.float32
    assert torch.equal(mixed[0], mixed[1])


def test_large_integers_are_mixed_in_float64() -> None:
    """Time stamps would collapse in float32; pixels stay in float32."""
    seconds = 1_700_000_000 + torch.arange(50)[:, None]
    assert len(set(Mixup(0.2).mix(seconds).inputs.flatten().tolist())) > 40
    assert Mixup(0.2).mix(torch.zeros(3, 2, dtype=torch.uint8)).inputs.dtype == torch.float32
