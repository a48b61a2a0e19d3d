"""Optional fast paths: gradients without autograd's graph, and steps as one CUDA graph."""

from __future__ import annotations

from mlpkit.training.fast._fast_engine import FastEngine
from mlpkit.training.fast._graph_capture import CapturedEngine
from mlpkit.training.fast._stacked_gradients import StackedGradients

__all__ = ["CapturedEngine", "FastEngine", "StackedGradients"]
