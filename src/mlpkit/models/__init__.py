"""Networks together with their preprocessing: what people save, load and share."""

from __future__ import annotations

import mlpkit.models._backpropagation  # noqa: F401 - registers the hand-written gradients
from mlpkit.models._softmax_classifier import SoftmaxClassifier
from mlpkit.models._unpooled import unpooled

__all__ = ["SoftmaxClassifier", "unpooled"]
