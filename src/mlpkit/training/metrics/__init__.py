"""Evaluation of a model, its metrics, and their history over the epochs."""

from __future__ import annotations

from mlpkit.training.metrics._classification_accumulator import ClassificationAccumulator
from mlpkit.training.metrics._custom_metrics import (
    CustomMetrics,
    Metric,
    MetricFunction,
    MetricLike,
)
from mlpkit.training.metrics._epoch_line import epoch_line
from mlpkit.training.metrics._evaluation import compute_metrics, evaluate, forward
from mlpkit.training.metrics._history import EpochRow, History
from mlpkit.training.metrics._loss_sums import LossAccumulator
from mlpkit.training.metrics._meter import EpochMeter
from mlpkit.training.metrics._multilabel_accumulator import MultilabelAccumulator
from mlpkit.training.metrics._regression_accumulator import RegressionAccumulator
from mlpkit.training.metrics._results import (
    ClassificationMetrics,
    ClassMetrics,
    Evaluation,
    MultilabelMetrics,
    RegressionMetrics,
    TargetMetrics,
)
from mlpkit.training.metrics._top_k_accuracy import TopKAccuracy

__all__ = [
    "ClassMetrics",
    "ClassificationAccumulator",
    "ClassificationMetrics",
    "CustomMetrics",
    "EpochMeter",
    "EpochRow",
    "Evaluation",
    "History",
    "LossAccumulator",
    "Metric",
    "MetricFunction",
    "MetricLike",
    "MultilabelAccumulator",
    "MultilabelMetrics",
    "RegressionAccumulator",
    "RegressionMetrics",
    "TargetMetrics",
    "TopKAccuracy",
    "compute_metrics",
    "epoch_line",
    "evaluate",
    "forward",
]
