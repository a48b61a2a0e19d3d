"""Networks together with their preprocessing: what people save, load and share."""

from __future__ import annotations

import mlpkit.models._backpropagation  # noqa: F401 - registers the hand-written passes of the models
from mlpkit.models._softmax_classifier import SoftmaxClassifier

__all__ = ["SoftmaxClassifier"]
