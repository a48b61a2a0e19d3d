"""Metrics of a model, their history over the epochs, and evaluation."""

from __future__ import annotations

from mlpkit.training.metrics._evaluation import evaluate, forward
from mlpkit.training.metrics._history import EpochRow, History
from mlpkit.training.metrics._meter import EpochMeter
from mlpkit.training.metrics._metrics import (
    ClassificationAccumulator,
    ClassificationMetrics,
    ClassMetrics,
    Evaluation,
    RegressionAccumulator,
)

__all__ = [
    "ClassMetrics",
    "ClassificationAccumulator",
    "ClassificationMetrics",
    "EpochMeter",
    "EpochRow",
    "Evaluation",
    "History",
    "RegressionAccumulator",
    "evaluate",
    "forward",
]
