"""The temperature that minimizes the cross-entropy, against a search on a grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import optimize, special
from torch import Tensor

from mlpkit.data import LabeledTensors
from mlpkit.models._calibration import check_held_out, fit_temperature


@pytest.mark.parametrize("num_classes", [2, 5])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("scale", [0.3, 1.0, 6.0])
def test_it_is_that_of_a_grid(num_classes: int, scale: float, *, weighted: bool) -> None:
    """Oracle: torch's cross-entropy with label smoothing 1/(n+1), on a grid of temperatures."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(500, num_classes, generator=generator, dtype=torch.float64)
    targets = torch.multinomial(logits.softmax(1), 1, generator=generator).squeeze(1)
    scores = logits * scale
    weights = torch.rand(500, generator=generator) if weighted else None
    count = 500.0 if weights is None else float(weights.sum() ** 2 / weights.square().sum())
    of_target = scores.gather(1, targets[:, None]).squeeze(1)
    found = float(fit_temperature(scores, of_target, weights))
    shares = torch.ones(500).double() if weights is None else weights.double()

    def loss(temperature: float) -> float:
        losses = F.cross_entropy(
            scores / temperature, targets, label_smoothing=1 / (count + 1), reduction="none"
        )
        return float((losses * shares).sum() / shares.sum())

    grid = torch.logspace(-2, 2, 4001, dtype=torch.float64).tolist()
    best = min(grid, key=loss)
    assert found == pytest.approx(best, rel=0.003)
    assert loss(found) <= loss(best) + 1e-12


def test_it_is_finite_where_every_score_is_equal_or_every_prediction_right() -> None:
    equal = torch.zeros(9, 3, dtype=torch.float64)
    assert float(fit_temperature(equal, equal[:, 0], None)) == pytest.approx(1.0)
    right = torch.tensor([[0.0, 30.0]] * 50, dtype=torch.float64)
    assert 0.5 < float(fit_temperature(right, right[:, 1], None)) < 30.0


def test_held_out_examples_are_checked() -> None:
    with pytest.raises(TypeError, match="val must be LabeledTensors, got list; pass the valid"):
        check_held_out([])
    data = LabeledTensors(torch.rand(2, 2), torch.tensor([0, 1]), weights=torch.zeros(2))
    with pytest.raises(ValueError, match=r"val\.weights must be above 0 for at least one example"):
        check_held_out(data)
    with pytest.raises(ValueError, match="val must be at least one example, got 0"):
        check_held_out(data[:0])
    ones = LabeledTensors(torch.rand(2, 2), torch.tensor([0, 1]), weights=torch.ones(2))
    assert check_held_out(ones) is ones


def optimal_temperature(scores: Tensor, targets: Tensor, weights: Tensor) -> float:
    """Return the minimum of the smoothed cross-entropy over T, found by scipy in float64."""
    logits, shares = scores.numpy(), (weights.double() / weights.double().sum()).numpy()
    effective = float(weights.double().sum() ** 2 / weights.double().square().sum())
    epsilon = 1 / (effective + 1)
    smoothed = np.full(logits.shape, epsilon / logits.shape[1])
    smoothed[np.arange(len(targets)), targets.numpy()] += 1 - epsilon

    def loss(log_temperature: float) -> float:
        scaled = logits * np.exp(-log_temperature)
        log_probabilities = scaled - special.logsumexp(scaled, axis=1, keepdims=True)
        return float(-(shares[:, None] * smoothed * log_probabilities).sum())

    found = optimize.minimize_scalar(
        loss, bounds=(-6.9, 6.9), method="bounded", options={"xatol": 1e-9}
    )
    return float(np.exp(found.x))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("count", [1, 2, 40])
def test_it_is_the_optimum_of_the_smoothed_cross_entropy(
    count: int, scale: float, *, weighted: bool
) -> None:
    """Oracle: scipy's bounded search, for confident and for timid scores and few examples."""
    scores = torch.randn(count, 3, dtype=torch.float64) * scale
    targets = torch.where(torch.arange(count) % 5 == 4, scores.argmin(1), scores.argmax(1))
    of_target = scores.gather(1, targets[:, None]).squeeze(1)
    weights = torch.rand(count) + 0.1 if weighted else torch.ones(count)
    found = float(fit_temperature(scores, of_target, weights if weighted else None))
    assert found == pytest.approx(optimal_temperature(scores, targets, weights), rel=2e-6)
    for factor in (1e-3, 7.0):  # only the relative size of the weights counts
        scaled = float(fit_temperature(scores, of_target, weights * factor))
        assert scaled == pytest.approx(found, rel=1e-6)


def test_it_is_between_a_thousandth_and_a_thousand() -> None:
    """Where every prediction is wrong the optimum is infinite; with tiny scores it is near 0."""
    scores = torch.eye(2, dtype=torch.float64).repeat(500, 1)
    assert float(fit_temperature(scores, scores.amin(1), None)) == pytest.approx(1000.0, rel=1e-9)
    timid = scores * 1e-5
    assert float(fit_temperature(timid, timid.amax(1), None)) == pytest.approx(0.001, rel=1e-9)


def test_it_does_not_depend_on_the_default_device() -> None:
    scores = torch.randn(20, 3, dtype=torch.float64)
    expected = fit_temperature(scores, scores.amax(1), None)
    with torch.device("meta"):
        assert torch.equal(fit_temperature(scores, scores.amax(1), None), expected)


def test_small_weights_are_weights() -> None:
    """Their sum may be below 1."""
    data = LabeledTensors(torch.rand(2, 2), torch.tensor([0, 1]), weights=torch.full((2,), 0.1))
    assert check_held_out(data) is data
