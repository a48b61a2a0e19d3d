"""An engine whose gradients are those of the batches of all processes."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mlpkit._devices import Precision
from mlpkit.training._engine import Engine, total_weight
from mlpkit.training._nonfinite import FiniteGuard
from mlpkit.training._ranks import Ranks
from mlpkit.training.batches import BatchLike, num_examples
from mlpkit.training.objectives import Objective

__all__ = ["DistributedEngine"]

# The argument was renamed in torch 2.14.
_SYNC_BUFFERS = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in inspect.signature(DistributedDataParallel).parameters
)


class DistributedEngine(Engine):
    r"""An :class:`Engine` for one of several processes, each of which has a part of every batch.

    The loss is the mean over the examples of all processes,

    .. math::
        L = \frac{\sum_r \sum_{i \in B_r} w_i l_i}{\sum_r \sum_{i \in B_r} w_i},

    whatever the sizes of the parts :math:`B_r` and the weights in them. Its gradient is summed by
    :class:`torch.nn.parallel.DistributedDataParallel` during the backward pass, so every process
    makes the same update. Running statistics of batch norm are those of the first process.

    Args:
        ranks: The processes.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        guard: FiniteGuard,
        *,
        class_weights: Tensor | None,
        clip_grad_norm: float | None,
        precision: Precision,
        device: torch.device,
        ranks: Ranks,
    ) -> None:
        super().__init__(
            model,
            objective,
            optimizer,
            guard,
            class_weights=class_weights,
            clip_grad_norm=clip_grad_norm,
            precision=precision,
            device=device,
        )
        self._ranks = ranks
        self._replica: DistributedDataParallel | None = None
        self._replicated: frozenset[int] = frozenset()  # ids of the trainable parameters
        self._is_graph_known = False

    def begin_epoch(self) -> None:
        """Connect the parameters of this process with those of the others."""
        super().begin_epoch()
        trainable = frozenset(id(p) for p in self._model.parameters() if p.requires_grad)
        if trainable != self._replicated:
            # The first backward pass finds the parameters without a gradient, as one process does.
            self._replica = DistributedDataParallel(
                self._model,
                static_graph=True,
                **{_SYNC_BUFFERS: False},  # type: ignore[arg-type]  # a bool
            )
            self._replicated, self._is_graph_known = trainable, False

    def end(self) -> None:
        """Disconnect the parameters."""
        super().end()
        self._replica, self._replicated = None, frozenset()

    def _total_weight(
        self, microbatches: Sequence[BatchLike], weights: Sequence[Tensor | None]
    ) -> float | Tensor:
        """Return the sum of the weights of all processes."""
        total = total_weight(microbatches, weights)
        if isinstance(total, Tensor):
            return self._ranks.sum(total)
        return float(sum(num_examples(batch) for batch in microbatches))

    def _backward(
        self,
        microbatches: Sequence[BatchLike],
        weights: Sequence[Tensor | None],
        total: float | Tensor,
    ) -> Tensor:
        """Accumulate the gradients over the microbatches, then over the processes."""
        replica, size = self._replica, self._ranks.size
        assert replica is not None, "begin_epoch is called before a step"
        parts = []
        for number, (batch, weight) in enumerate(zip(microbatches, weights, strict=True), 1):
            # The gradients of the first step are summed after each microbatch, from which the
            # replica learns the graph; those of later steps after the last one.
            is_summed = number == len(microbatches) or not self._is_graph_known
            with contextlib.nullcontext() if is_summed else replica.no_sync():
                part = self._weighted_sum(self._losses(batch, replica), batch, weight) / total
                scaled = part * size  # DistributedDataParallel divides by the number of processes
                torch.autograd.backward(
                    scaled if self.scaler is None else self.scaler.scale(scaled)
                )
            parts.append(part.detach())
        self._is_graph_known = True
        return self._ranks.sum(torch.stack(parts).sum())
