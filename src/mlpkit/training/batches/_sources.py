"""Protocols of what training reads: batches, sources of batches, and examples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

__all__ = ["BatchLike", "BatchSource", "Examples", "IndexedSource"]


@runtime_checkable
class BatchLike(Protocol):
    """One batch of examples.

    Attributes:
        inputs: Inputs of the model, ``(N, ...)``.
        targets: Class indices (int64, ``(N,)``), target distributions (floating-point, ``(N, C)``)
            or regression targets (floating-point, ``(N, ...)``).
        weights: Weight of each example, ``(N,)``; None if all weigh the same.
        indices: Position of each example in its data set, int64, ``(N,)``.
    """

    @property
    def inputs(self) -> Tensor: ...

    @property
    def targets(self) -> Tensor: ...

    @property
    def weights(self) -> Tensor | None: ...

    @property
    def indices(self) -> Tensor: ...


@runtime_checkable
class BatchSource(Protocol):
    """Batches in an order that is a pure function of the epoch.

    That purity is what makes a resume exact: batch ``b`` of epoch ``e`` needs no other state.

    Attributes:
        num_examples: Examples in one epoch.
        fingerprint: A digest of the data and of everything that decides its order.
    """

    @property
    def num_examples(self) -> int: ...

    @property
    def fingerprint(self) -> str: ...

    def __len__(self) -> int:
        """Return the number of batches in one epoch."""
        ...

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[BatchLike]:
        """Give the batches of one epoch, from batch number ``start`` on."""
        ...


@runtime_checkable
class IndexedSource(BatchSource, Protocol):
    """Batches that say which examples they take before they take them.

    ``epoch(e)`` must be ``gather`` of each of ``positions(e)``.

    Attributes:
        device: Where the examples are.
        is_augmented: Whether what is gathered depends on the epoch, or on the seed of the order.
    """

    @property
    def device(self) -> torch.device: ...

    @property
    def is_augmented(self) -> bool: ...

    def batch_indices(self, epoch: int, *, start: int = 0) -> Iterator[Tensor]:
        """Give the positions of the examples of each batch of one epoch, from ``start`` on."""
        ...

    def gather(self, indices: Tensor, *, epoch: int) -> BatchLike:
        """Return the examples at these positions as a batch of an epoch."""
        ...


@runtime_checkable
class Examples(Protocol):
    """Examples with targets that can put themselves into batches."""

    def __len__(self) -> int:
        """Return the number of examples."""
        ...

    def batches(
        self, batch_size: int, *, shuffle: bool = True, seed: int = 0, drop_last: bool = False
    ) -> BatchSource:
        """Return batches of ``batch_size`` examples, the last one shorter unless dropped."""
        ...
