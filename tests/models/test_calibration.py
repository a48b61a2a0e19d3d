"""The temperature that minimizes the cross-entropy, against a search on a grid."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

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
