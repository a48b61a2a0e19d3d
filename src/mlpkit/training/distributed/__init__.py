"""Training with several processes: the batches, the gradients and the evaluation of each rank."""

from __future__ import annotations

from mlpkit.training.distributed._distributed_engine import DistributedEngine
from mlpkit.training.distributed._parallel_forward import ParallelForward
from mlpkit.training.distributed._rank_batches import rank_batches

__all__ = [
    "DistributedEngine",
    "ParallelForward",
    "rank_batches",
]
