"""The weighted mean of losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mlpkit.training.metrics import LossAccumulator


@pytest.mark.parametrize("weighted", [False, True])
def test_is_the_weighted_mean(weighted: bool) -> None:
    losses = torch.rand(20)
    weights = torch.rand(20) if weighted else None
    metrics = LossAccumulator()
    for part in (slice(0, 13), slice(13, 20)):
        metrics.update(losses[part], None if weights is None else weights[part])
    shares = None if weights is None else weights.double().numpy()
    evaluation = metrics.compute()
    expected = np.average(losses.double().numpy(), weights=shares)
    assert evaluation.loss == pytest.approx(expected, rel=1e-14)
    assert evaluation.num_examples == 20
    assert evaluation.regression is None


def test_refusals() -> None:
    metrics = LossAccumulator()
    with pytest.raises(ValueError, match="data must be at least one example, got 0"):
        metrics.compute()
    with pytest.raises(ValueError, match=r"losses must be of shape \(4,\), got \(2, 2\)"):
        metrics.update(torch.zeros(2, 2))
    with pytest.raises(ValueError, match=r"losses must be of shape \(1,\), got \(\)"):
        metrics.update(torch.zeros(()))
    with pytest.raises(ValueError, match=r"weights must be of shape \(2,\), got \(3,\)"):
        metrics.update(torch.zeros(2), torch.ones(3))
    metrics.update(torch.zeros(2), torch.zeros(2))
    with pytest.raises(ValueError, match="weights must be greater than 0 for at least one"):
        metrics.compute()
