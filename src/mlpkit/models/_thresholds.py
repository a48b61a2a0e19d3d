"""The threshold of a probability that maximizes the F1 score."""

from __future__ import annotations

import torch
from torch import Tensor

from mlpkit._devices import accumulator_dtype

__all__ = ["best_f1_threshold"]


def best_f1_threshold(
    probabilities: Tensor, targets: Tensor, weights: Tensor | None
) -> float | None:
    """Return the threshold above which a predicted label has the largest F1 score.

    Candidates are the middles between neighboring probabilities, and between 0 and the smallest;
    of equal scores the one nearest to 0.5 is taken.

    Args:
        probabilities: Probability of the label in float32.
        targets: Whether the label is present, or its probability.
        weights: Weight of each example; None for equal weights.

    Shape:
        - each: ``(N,)``, N at least 1.

    Returns:
        The threshold; None if the label is present in no example, or all probabilities are 0.
    """
    wide = accumulator_dtype(probabilities.device)
    present = targets.to(probabilities.device, wide)
    counted = torch.ones_like(present) if weights is None else weights.to(present)
    order = probabilities.argsort(descending=True)
    values, counted = probabilities[order], counted[order]
    true_positives = (present[order] * counted).cumsum(0)
    if not bool(true_positives[-1] > 0):
        return None
    scores = 2 * true_positives / (counted.cumsum(0) + true_positives[-1])
    lower = torch.cat([values[1:], values.new_zeros(1)])  # of the first example left out
    scores = scores.masked_fill(lower == values, -1.0)  # no threshold is between equal values
    if not bool(scores.max() > 0):
        return None
    middle = (values + lower) / 2
    middle = torch.where(middle < values, middle, lower)  # floats may be neighbors
    is_best = scores >= scores.max() * (1 - 1e-12)
    return float(middle[is_best][(middle[is_best] - 0.5).abs().argmin()])
