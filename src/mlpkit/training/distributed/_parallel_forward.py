"""A forward pass in evaluation mode of which each process computes a part."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mlpkit.training._ranks import Ranks
from mlpkit.training.distributed._same_tensors import check_same_tensors

__all__ = ["ParallelForward"]


class ParallelForward(nn.Module):
    """A model whose outputs for a batch are computed in parts, one on each process.

    Every process has all outputs afterwards, so the metrics are computed as by one process, without
    padding and also those that are not a mean over examples. Outputs that are not one tensor with a
    row for each example are computed by every process, and so are those of a batch norm without
    running statistics, which depend on the whole batch.

    Args:
        model: The model, with the same weights on every process.
        ranks: The processes.
    """

    def __init__(self, model: nn.Module, ranks: Ranks) -> None:
        super().__init__()
        self.model = model
        self._ranks = ranks
        self._is_divided = all(
            module.running_mean is not None
            for module in model.modules()
            if isinstance(module, _BatchNorm)
        )
        self._is_checked = False  # that the processes have the same batches

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs for a batch that every process has.

        Shape:
            - x: ``(N, ...)``.
            - output: ``(N, ...)``.
        """
        count, size = x.shape[0], self._ranks.size
        if not self._is_checked:
            check_same_tensors("the validation batches", [x], self._ranks)
            self._is_checked = True
        # a part without examples has outputs of unknown shape for some models
        if count < size or not self._is_divided:
            return self.model(x)  # type: ignore[no-any-return]  # torch does not annotate nn.Module.__call__
        rows = self._ranks.part(count)
        own: object = self.model(x[rows])
        if not isinstance(own, Tensor) or own.shape[:1] != (rows.stop - rows.start,):
            return self.model(x)  # type: ignore[no-any-return]  # outputs that are no rows
        largest = -(-count // size)
        padded = own.new_zeros((largest, *own.shape[1:]))  # the parts that are gathered are equal
        padded[: own.shape[0]] = own
        gathered = [torch.empty_like(padded) for _ in range(size)]
        dist.all_gather(gathered, padded)
        parts = (Ranks(rank, size).part(count) for rank in range(size))
        sizes = [rows.stop - rows.start for rows in parts]
        return torch.cat([found[:size] for found, size in zip(gathered, sizes, strict=True)])
