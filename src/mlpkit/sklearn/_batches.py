"""The batches of a fit, in the order in which scikit-learn takes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from mlpkit._protocols import Batch

__all__ = ["CurrentBatch", "Inputs", "ShuffledBatches", "dense"]

Inputs: TypeAlias = Tensor | sp.csr_array


@dataclass(slots=True, eq=False)
class CurrentBatch:
    """What the solver and the stopping rule need to know about the batch of the current step.

    Attributes:
        examples: The batch; None before the first step.
        count: Number of its examples.
        weight: Total weight of its examples, above 0.
        penalty: L2 penalty of the weights from before the step, set by the solver.
        is_last: Whether the batch is the last one of a pass over the examples.
    """

    examples: Batch | None = None
    count: int = 0
    weight: float = 1.0
    penalty: float = 0.0
    is_last: bool = False


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ShuffledBatches:
    """Batches of several passes over the examples, as one epoch of a trainer.

    A trainer checks the model and appends a row to its history in each epoch, which takes as long
    as a step of a small network. One epoch is therefore a whole fit.

    The order of a pass is that of scikit-learn: a shuffle of the order of the pass before. It
    depends on the state of ``random``, so the batches can be read once.

    Args:
        inputs: Dense inputs, ``(N, D)``, or sparse ones, which are converted batch by batch.
        targets: The targets, ``(N,)`` or ``(N, L)``.
        weights: Weight of each example, ``(N,)``; None for equal weights.
        batch_size: Number of examples in a batch; the last one of a pass may be smaller.
        num_passes: Number of passes.
        random: Shuffles the examples; None keeps their order.
        current: Describes the latest batch.
    """

    inputs: Inputs
    targets: Tensor
    weights: Tensor | None
    batch_size: int
    num_passes: int
    random: np.random.RandomState | None
    current: CurrentBatch

    @property
    def num_examples(self) -> int:
        """Number of examples of all passes."""
        return self.num_passes * len(self.targets)

    @property
    def fingerprint(self) -> str:
        """Not used: a fit writes no checkpoints."""
        return ""

    def __len__(self) -> int:
        return self.num_passes * -(-len(self.targets) // self.batch_size)

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of all passes."""
        assert epoch == start == 0, "a fit is one epoch, and is not resumed"
        count = len(self.targets)
        order = np.arange(count)
        for _ in range(self.num_passes):
            if self.random is not None:
                shuffled = np.arange(count)
                self.random.shuffle(shuffled)
                order = order[shuffled]
            indices = torch.from_numpy(order)
            for low in range(0, count, self.batch_size):
                self.current.is_last = low + self.batch_size >= count
                self.current.count = min(self.batch_size, count - low)
                yield self._batch(indices[low : low + self.batch_size], low)

    def _batch(self, rows: Tensor, low: int) -> Batch:
        weights = None
        if self.random is None:  # consecutive examples are not copied
            part = slice(low, low + self.current.count)
            inputs, targets = self.inputs[part], self.targets[part]
            weights = None if self.weights is None else self.weights[part]
        else:
            inputs, targets = _take(self.inputs, rows), self.targets.index_select(0, rows)
            weights = None if self.weights is None else self.weights.index_select(0, rows)
        total = float(self.current.count) if weights is None else float(weights.sum())
        batch = Batch(dense(inputs), targets, weights, rows)
        self.current.examples = batch
        self.current.weight = total or 1.0
        return batch


def dense(inputs: Inputs) -> Tensor:
    """Return inputs as a dense tensor."""
    return inputs if isinstance(inputs, Tensor) else torch.from_numpy(inputs.toarray())


def _take(inputs: Inputs, rows: Tensor) -> Inputs:
    """Return the examples at these positions."""
    return inputs.index_select(0, rows) if isinstance(inputs, Tensor) else inputs[rows.numpy()]
