"""Training with several processes: the batches, the gradients and the evaluation of each rank."""

from __future__ import annotations

from mlpkit.training.distributed._distributed_engine import (
    DistributedEngine,
    ReplicatedEngine,
    ShardedEngine,
)
from mlpkit.training.distributed._parallel_forward import ParallelForward
from mlpkit.training.distributed._rank_batches import rank_batches
from mlpkit.training.distributed._sharding import (
    accept_whole_state,
    check_can_be_sharded,
    copy_whole,
    sharded_copy,
)
from mlpkit.training.distributed._synchronized_batch_norm import SynchronizedBatchNorm

__all__ = [
    "DistributedEngine",
    "ParallelForward",
    "ReplicatedEngine",
    "ShardedEngine",
    "SynchronizedBatchNorm",
    "accept_whole_state",
    "check_can_be_sharded",
    "copy_whole",
    "rank_batches",
    "sharded_copy",
]
