"""Bins of probabilities: the tests of the accumulators compare them with a loop."""

from __future__ import annotations

import pytest
import torch

from mlpkit.training.metrics._calibration_bins import CalibrationBins


def test_many_probabilities_are_added_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the table of probabilities and bins stays small."""
    probabilities, outcomes = torch.rand(100).double(), torch.rand(100).round().double()
    whole, parts = (CalibrationBins(15, torch.device("cpu")) for _ in range(2))
    whole.add(probabilities, outcomes)
    monkeypatch.setattr("mlpkit.training.metrics._calibration_bins._CHUNK", 7)
    parts.add(probabilities, outcomes)
    assert parts.fetch() == pytest.approx(whole.fetch(), rel=1e-12)


def test_bins_are_open_on_the_left() -> None:
    bins = CalibrationBins(2, torch.device("cpu"))
    bins.add(torch.tensor([0.0, 0.5, 1.0]).double(), torch.tensor([0.0, 1.0, 1.0]).double())
    assert bins.fetch() == pytest.approx((abs(0.5 - 1.0) + 0.0) / 3)
