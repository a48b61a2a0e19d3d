"""The running means of an epoch are exact sums, on the CPU and off it."""

from __future__ import annotations

import math

import pytest
import torch

from mlpkit.training.metrics import EpochMeter


class Elsewhere(EpochMeter):
    """A meter that takes the way of an accelerator, on the CPU."""

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"))
        self._reads_immediately = False


@pytest.mark.parametrize("meter", [EpochMeter(torch.device("cpu")), Elsewhere()])
@pytest.mark.parametrize("weighted", [False, True])
def test_means(meter: EpochMeter, *, weighted: bool) -> None:
    """Loss by weight, norm by step; a step that fp16 skipped has no norm."""
    meter.reset()
    losses = torch.rand(1000, generator=torch.Generator().manual_seed(0))
    for index, loss in enumerate(losses):
        weight = float(index % 3 + 1)
        norm = torch.tensor(math.inf if index == 7 else float(index))
        meter.add(loss, torch.tensor(weight) if weighted else weight, norm)
        if index == 500:  # a checkpoint in between
            meter.load_state_dict(meter.state_dict())
    weights = [index % 3 + 1 for index in range(1000)]
    expected = math.fsum(
        weight * loss for weight, loss in zip(weights, losses.tolist(), strict=True)
    ) / sum(weights)
    loss_mean, norm_mean = meter.means()
    assert loss_mean == pytest.approx(expected, rel=1e-12)
    assert norm_mean == pytest.approx((sum(range(1000)) - 7) / 999, rel=1e-12)
