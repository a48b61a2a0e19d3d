"""Engines whose gradients are those of the batches of all processes."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mlpkit.training._engine import Engine, total_weight
from mlpkit.training._shards import local
from mlpkit.training.batches import BatchLike, num_examples
from mlpkit.training.distributed._synchronized_batch_norm import SynchronizedBatchNorm

__all__ = ["DistributedEngine", "ReplicatedEngine", "ShardedEngine"]

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

    whatever the sizes of the parts :math:`B_r` and the weights in them. Its gradient is averaged
    over the processes after the backward pass, so every process makes the same update. The
    objective may call the model several times, and compute gradients itself.
    """

    _has_begun = False

    def begin_epoch(self) -> None:
        """Give all processes the weights of the first one, before the first step."""
        super().begin_epoch()
        if not self._has_begun:
            self._ranks.share_tensors([*self._model.parameters(), *self._model.buffers()])
            self._has_begun = True

    @contextlib.contextmanager
    def _averaging(self, *, is_last: bool) -> Iterator[nn.Module]:
        """Return a context of the passes of one microbatch; its value is the module to call."""
        yield self._model
        if is_last:
            # The loss of a part may not depend on a parameter on which that of another one does.
            known = self._ranks.largest([p.grad is not None for p in self._parameters])
            for parameter, is_known in zip(self._parameters, known, strict=True):
                if is_known:
                    own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                    parameter.grad = self._ranks.sum(own.detach()) / self._ranks.size

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
        """Accumulate the gradients over the microbatches and the processes."""
        parts = []
        for number, (batch, weight) in enumerate(zip(microbatches, weights, strict=True), 1):
            with self._averaging(is_last=number == len(microbatches)) as module:
                part = self._weighted_sum(self._losses(batch, module), batch, weight) / total
                scaled = part * self._ranks.size  # so that the average over processes is the sum
                torch.autograd.backward(
                    scaled if self.scaler is None else self.scaler.scale(scaled)
                )
            parts.append(part.detach())
        return self._ranks.sum(torch.stack(parts).sum())

    def _losses(self, batch: BatchLike, model: nn.Module) -> Tensor:
        if not self._sync_batch_norm:
            return super()._losses(batch, model)
        with SynchronizedBatchNorm(self._ranks):
            return super()._losses(batch, model)


class ReplicatedEngine(DistributedEngine):
    """Sums gradients during the backward pass: :class:`torch.nn.parallel.DistributedDataParallel`.

    It is for objectives that call the model once. A backward pass within the objective, as in
    virtual adversarial training, would be taken for that of the step, and the gradients would stay
    those of each process.
    """

    _replica: DistributedDataParallel | None = None
    _replicated: frozenset[int] = frozenset()  # ids of the trainable parameters
    _is_graph_known = False

    def begin_epoch(self) -> None:
        """Connect the parameters of this process with those of the others."""
        Engine.begin_epoch(self)  # the replica shares the weights
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

    @contextlib.contextmanager
    def _averaging(self, *, is_last: bool) -> Iterator[nn.Module]:
        replica = self._replica
        assert replica is not None, "begin_epoch is called before a step"
        # The gradients of the first step are averaged after each microbatch, from which the
        # replica learns the graph; those of later steps after the last one.
        is_averaged = is_last or not self._is_graph_known
        with contextlib.nullcontext() if is_averaged else replica.no_sync():
            yield replica
        self._is_graph_known = self._is_graph_known or is_last


class ShardedEngine(DistributedEngine):
    """Every process has a part of each parameter: :func:`torch.distributed.fsdp.fully_shard`.

    The model is a :func:`sharded_copy`, which averages the gradients of each microbatch itself.
    """

    _has_begun = True  # the copy has the weights of the first process

    @contextlib.contextmanager
    def _averaging(self, *, is_last: bool) -> Iterator[nn.Module]:  # noqa: ARG002 - the hook
        yield self._model

    def _gradients(self) -> list[Tensor]:
        """Return the part of each gradient that this process has."""
        return [local(gradient) for gradient in super()._gradients()]

    def _total_norm(self, grads: list[Tensor]) -> Tensor:
        """Return the norm of the gradients of all processes."""
        return self._ranks.sum(super()._total_norm(grads).square()).sqrt()
