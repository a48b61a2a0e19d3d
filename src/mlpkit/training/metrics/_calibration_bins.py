"""Bins of predicted probabilities, for the expected calibration error."""

from __future__ import annotations

import torch
from torch import Tensor

from mlpkit._devices import accumulator_dtype

__all__ = ["CalibrationBins"]

_CHUNK = 1 << 18  # probabilities that are assigned to bins at once; bounds the memory


class CalibrationBins:
    """Sums of probabilities and outcomes in bins of equal width, open on the left.

    Args:
        num_bins: Number of bins of [0, 1], at least 1.
        device: Device of the sums.
    """

    def __init__(self, num_bins: int, device: torch.device) -> None:
        wide = accumulator_dtype(device)
        # rows: number of probabilities, sum of outcomes, sum of probabilities
        self._sums = torch.zeros(3, num_bins, dtype=wide, device=device)
        self._edges = (torch.arange(1, num_bins, dtype=wide) / num_bins).to(device)
        self._bin_ids = torch.arange(num_bins, device=device)

    def add(self, probabilities: Tensor, outcomes: Tensor) -> None:
        """Add probabilities and what happened, both ``(N,)`` in the dtype of the sums."""
        parts = zip(torch.split(probabilities, _CHUNK), torch.split(outcomes, _CHUNK), strict=True)
        for probability, outcome in parts:
            in_bin = torch.bucketize(probability, self._edges)[:, None] == self._bin_ids
            rows = torch.stack([torch.ones_like(probability), outcome, probability])  # (3, N)
            self._sums += rows @ in_bin.to(rows.dtype)

    def fetch(self) -> float:
        """Return the expected calibration error; synchronizes with the device."""
        count, outcome, probability = self._sums.cpu().double()
        gap = (outcome - probability).abs().sum()  # sum of n_b |outcome_b - probability_b|
        return float(gap / count.sum())
