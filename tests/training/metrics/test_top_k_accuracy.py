"""Top-k accuracy is scikit-learn's."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import top_k_accuracy_score  # type: ignore[import-untyped]

from mlpkit.training import TopKAccuracy


@pytest.mark.parametrize("k", [1, 2, 5, 7])
def test_it_is_that_of_scikit_learn(k: int) -> None:
    """In batches of different sizes, also of none, for class indices and for distributions."""
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(50, 7, generator=generator)
    targets = torch.randint(7, (50,), generator=generator)
    expected = top_k_accuracy_score(targets, outputs, k=k, labels=range(7)) if k < 7 else 1.0
    metric = TopKAccuracy(k)
    for part in (slice(0, 20), slice(20, 20), slice(20, 50)):
        metric.update(outputs[part], targets[part])
    assert metric.compute() == pytest.approx(expected)
    metric.reset()
    metric.update(outputs, torch.nn.functional.one_hot(targets, 7).float())
    assert metric.compute() == pytest.approx(expected)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="k must be a positive integer, got 0"):
        TopKAccuracy(0)
    with pytest.raises(ValueError, match="k must be at most the number of outputs, 3, got 5"):
        TopKAccuracy(5).update(torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match="data must be at least one example, got 0"):
        TopKAccuracy().compute()
    assert repr(TopKAccuracy(3)) == "TopKAccuracy(3)"
    assert TopKAccuracy.higher_is_better
