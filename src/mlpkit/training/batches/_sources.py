"""Protocols of the training data: batches, sources of batches, and examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

__all__ = [
    "BatchLike",
    "BatchSource",
    "Examples",
    "HasState",
    "IndexedSource",
    "StatefulSource",
]


@runtime_checkable
class BatchLike(Protocol):
    """One batch of examples.

    Attributes:
        inputs: Inputs of the model, ``(N, ...)``.
        targets: Class indices (int64, ``(N,)``), target distributions (floating-point, ``(N, C)``)
            or regression targets (floating-point, ``(N, ...)``).
        weights: Weight of each example, ``(N,)``; None means equal weights.
        indices: Position of each example in its data set, int64, ``(N,)``; -1 if it is unknown.
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

    Batch ``b`` of epoch ``e`` must not depend on any other state; this makes a resume exact. The
    exception is a source that also has ``state_dict()`` and ``load_state_dict(state)``, with a
    state of tensors and plain values: its ``epoch(e, start=b)`` yields the batches that follow
    those already read, and ``len(source) - b`` of them. Checkpoints hold its state after the batch
    of the latest step.

    Attributes:
        num_examples: Number of examples in one epoch; None if it is unknown.
        fingerprint: Digest of the data and of everything that determines its order.
    """

    @property
    def num_examples(self) -> int | None: ...

    @property
    def fingerprint(self) -> str: ...

    def __len__(self) -> int:
        """Return the number of batches in one epoch."""
        ...

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[BatchLike]:
        """Yield the batches of one epoch, from batch number ``start`` on."""
        ...


@runtime_checkable
class HasState(Protocol):
    """An object whose position among its data can be saved and restored."""

    def state_dict(self) -> Mapping[str, object]:
        """Return the state after the latest batch, in tensors and plain values."""
        ...

    def load_state_dict(self, state: dict[str, object], /) -> object:
        """Restore what :meth:`state_dict` returned."""
        ...


@runtime_checkable
class StatefulSource(BatchSource, HasState, Protocol):
    """A source that yields each batch once; its position is its state."""


@runtime_checkable
class IndexedSource(BatchSource, Protocol):
    """A source that separates the indices of a batch from gathering its examples.

    ``epoch(e)`` must yield ``gather(indices, epoch=e)`` for each item of ``batch_indices(e)``.

    Attributes:
        device: Device of the examples.
        is_augmented: Whether the gathered examples depend on the epoch or on the seed.
    """

    @property
    def device(self) -> torch.device: ...

    @property
    def is_augmented(self) -> bool: ...

    def batch_indices(self, epoch: int, *, start: int = 0) -> Iterator[Tensor]:
        """Yield the positions of the examples of each batch of an epoch, from ``start`` on."""
        ...

    def gather(self, indices: Tensor, *, epoch: int) -> BatchLike:
        """Return the examples at ``indices`` as a batch of an epoch."""
        ...


@runtime_checkable
class Examples(Protocol):
    """Labeled examples that can be divided into batches."""

    def __len__(self) -> int:
        """Return the number of examples."""
        ...

    def batches(
        self, batch_size: int, *, shuffle: bool = True, seed: int = 0, drop_last: bool = False
    ) -> BatchSource:
        """Return batches of ``batch_size`` examples; the last one may be shorter or dropped."""
        ...
