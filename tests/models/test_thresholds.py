"""The threshold with the largest F1 score, against a search over all thresholds."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch
from torch import Tensor

from mlpkit.models._thresholds import best_f1_threshold

metrics = importlib.import_module("sklearn.metrics")  # it has no type hints


def f1(p: Tensor, targets: Tensor, threshold: float, weights: Tensor | None) -> float:
    """Return the F1 score of scikit-learn at a threshold in float32."""
    predicted = (p > torch.tensor(threshold)).numpy()
    weight = None if weights is None else weights.double().numpy()
    score = metrics.f1_score(targets.numpy(), predicted, sample_weight=weight, zero_division=0.0)
    return float(score)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("weighted", [False, True])
def test_no_threshold_has_a_larger_score(seed: int, *, weighted: bool) -> None:
    """Oracle: scikit-learn's F1 at every probability and below; probabilities repeat."""
    generator = torch.Generator().manual_seed(seed)
    p = torch.rand(40, generator=generator)
    p = (p * 10).round() / 10 if seed % 2 else p
    targets = (torch.rand(40, generator=generator) < p).float()
    targets[0] = 1.0
    weights = torch.rand(40, generator=generator) if weighted else None
    found = best_f1_threshold(p, targets, weights)
    assert found is not None
    candidates = [0.0, *p.tolist(), *(p.double() - 1e-6).clamp_min(0).tolist()]
    best = max(f1(p, targets, each, weights) for each in candidates)
    assert f1(p, targets, found, weights) == pytest.approx(best, rel=1e-6)


def test_it_is_in_the_middle_of_two_probabilities() -> None:
    p, targets = torch.tensor([0.1, 0.3, 0.7, 0.9]), torch.tensor([0.0, 0.0, 1.0, 1.0])
    assert best_f1_threshold(p, targets, None) == pytest.approx(0.5)
    assert best_f1_threshold(p, torch.ones(4), None) == pytest.approx(0.05)
    near = np.nextafter(np.float32(0.5), np.float32(1))
    pair = torch.tensor([0.5, float(near)])
    found = best_f1_threshold(pair, torch.tensor([0.0, 1.0]), None)
    assert found is not None
    assert (pair > torch.tensor(found)).tolist() == [False, True]


@pytest.mark.parametrize(
    ("p", "expected"), [((0.9, 0.6, 0.4, 0.2), 0.75), ((0.99, 0.9, 0.55, 0.5), 0.25)]
)
def test_equal_scores_give_the_threshold_nearest_to_one_half(
    p: tuple[float, ...], expected: float
) -> None:
    """The first alone scores 2 * 1 / (1 + 2), and all four 2 * 2 / (4 + 2)."""
    targets = torch.tensor([1.0, 0.0, 0.0, 1.0])
    assert best_f1_threshold(torch.tensor(p), targets, None) == pytest.approx(expected)


def test_a_label_without_a_present_example_has_no_threshold() -> None:
    assert best_f1_threshold(torch.rand(4), torch.zeros(4), None) is None
    assert best_f1_threshold(torch.zeros(4), torch.ones(4), None) is None
    weights = torch.tensor([1.0, 0.0])
    assert best_f1_threshold(torch.rand(2), torch.tensor([0.0, 1.0]), weights) is None
