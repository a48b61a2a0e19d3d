"""Optional fast paths: hand-written gradients, and CUDA graphs of whole steps."""

from __future__ import annotations

from mlpkit.training.fast._fast_engine import FastEngine
from mlpkit.training.fast._graph_capture import CapturedEngine
from mlpkit.training.fast._output_gradient import loss_and_gradient
from mlpkit.training.fast._stacked_gradients import StackedGradients

__all__ = ["CapturedEngine", "FastEngine", "StackedGradients", "loss_and_gradient"]
