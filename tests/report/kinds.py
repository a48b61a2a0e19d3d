"""Models of each kind with test sets, for reports."""

from __future__ import annotations

import torch

from mlpkit import MultilabelClassifier, Regressor
from mlpkit.data import LabeledTensors

__all__ = ["labels_example", "regression_example"]


def _inputs(count: int) -> tuple[torch.Tensor, torch.Generator]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 6, generator=generator), generator


def labels_example(
    labels: int = 3, count: int = 120, *, is_flat: bool = False
) -> tuple[MultilabelClassifier, LabeledTensors]:
    """Return an untrained classifier with distinct thresholds, and its test set."""
    inputs, generator = _inputs(count)
    targets = (torch.rand(count, labels, generator=generator) < 0.4).float()
    names = tuple(f"<label {index}>" for index in range(labels))
    test = (
        LabeledTensors(inputs, targets[:, 0]) if is_flat else LabeledTensors(inputs, targets, names)
    )
    model = MultilabelClassifier.for_data(test, (8,), generator=generator)
    model.thresholds.copy_(torch.linspace(0.4, 0.6, labels))
    return model, test


def regression_example(
    *shape: int, count: int = 120, predicts_std: bool = False
) -> tuple[Regressor, LabeledTensors]:
    """Return an untrained regressor of targets in large units, and its test set."""
    inputs, generator = _inputs(count)
    targets = 9000 + 500 * torch.randn(count, *shape, generator=generator)
    names = tuple(f"<target {index}>" for index in range(*shape)) if len(shape) == 1 else None
    test = LabeledTensors(inputs, targets, names)
    model = Regressor.for_data(test, (8,), predicts_std=predicts_std, generator=generator)
    return model, test
