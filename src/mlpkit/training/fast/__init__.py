"""Optional fast paths: gradients without autograd's graph, and steps as one CUDA graph."""

from __future__ import annotations

from mlpkit.training.fast._fast_engine import FastEngine
from mlpkit.training.fast._graph_capture import CudaRecorder, StepGraph, keep_lr_on_device
from mlpkit.training.fast._output_gradient import loss_and_gradient
from mlpkit.training.fast._stacked_gradients import StackedPasses

__all__ = [
    "CudaRecorder",
    "FastEngine",
    "StackedPasses",
    "StepGraph",
    "keep_lr_on_device",
    "loss_and_gradient",
]
