"""The batches of all networks, combined into one batch with an axis for the networks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch.utils.data import DataLoader

from mlpkit._checks import error_message
from mlpkit._protocols import Batch
from mlpkit.training._config import FilledConfig
from mlpkit.training.batches import (
    BatchLike,
    BatchSource,
    IndexedSource,
    TrainingData,
    as_batches,
    on_device,
)

__all__ = ["JoinedBatch", "JoinedBatches"]

_T = TypeVar("_T")


class JoinedBatch(NamedTuple):
    """The batches of all networks at one microbatch.

    Attributes:
        per_network: The batch of each network; the same object for all if they share it.
        combined: All batches in one, ``(K, N, ...)``, or the shared batch, ``(N, ...)``.
    """

    per_network: tuple[BatchLike, ...]
    combined: BatchLike


class JoinedBatches:
    """The batches of all networks, each in the order of its seed.

    Args:
        train: Examples to train on.
        configs: The settings of each network.
        device: Device of the networks.

    Attributes:
        shared: Whether all networks have the same batches.
    """

    def __init__(
        self, train: TrainingData, configs: Sequence[FilledConfig], device: torch.device
    ) -> None:
        if isinstance(train, DataLoader):
            rule = "LabeledTensors or Batches for several networks"
            cure = "wrap tensors in LabeledTensors(inputs, targets)"
            raise TypeError(error_message("train", rule, type(train).__name__, cure))
        seeds = [config.seed for config in configs]
        if isinstance(train, BatchSource):  # its order does not depend on the seeds
            seeds = seeds[:1] * len(seeds)
        size, drop_last = configs[0].batch_size, configs[0].drop_last
        self._by_seed = {
            seed: as_batches(
                "train", train, batch_size=size, shuffle=True, seed=seed, drop_last=drop_last
            )
            for seed in dict.fromkeys(seeds)
        }
        self._seeds = seeds
        self._accumulation_steps = configs[0].gradient_accumulation_steps
        self._device = device
        self.shared = len(self._by_seed) == 1

    @property
    def sources(self) -> list[BatchSource]:
        """The batches of each network."""
        return [self._by_seed[seed] for seed in self._seeds]

    @property
    def num_steps(self) -> int:
        """Number of steps of an epoch."""
        return -(-len(self.sources[0]) // self._accumulation_steps)

    def epoch(self, epoch: int) -> Iterator[list[JoinedBatch]]:
        """Yield the microbatches of each step of an epoch."""
        indexed = [one for one in self._by_seed.values() if isinstance(one, IndexedSource)]
        all_indexed = len(indexed) == len(self._by_seed) > 1
        if all_indexed and not any(one.is_augmented for one in indexed):
            joined = self._gathered(indexed, epoch)
        else:
            joined = self._loaded(epoch)
        while step := list(itertools.islice(joined, self._accumulation_steps)):
            yield step

    def _gathered(self, sources: Sequence[IndexedSource], epoch: int) -> Iterator[JoinedBatch]:
        """Yield batches whose examples are gathered for all networks in one call."""
        for positions in zip(*(one.batch_indices(epoch) for one in sources), strict=True):
            indices = torch.stack(self._for_each(positions))  # (K, N)
            batch = on_device(sources[0].gather(indices.flatten(), epoch=epoch), self._device)
            inputs, targets, weights = batch.inputs, batch.targets, batch.weights
            combined = Batch(
                inputs.reshape(*indices.shape, *inputs.shape[1:]),
                targets.reshape(*indices.shape, *targets.shape[1:]),
                None if weights is None else weights.reshape(indices.shape),
                batch.indices.view(indices.shape),
            )
            yield JoinedBatch(_split(combined), combined)

    def _loaded(self, epoch: int) -> Iterator[JoinedBatch]:
        """Yield the batches of the sources."""
        for step in zip(*(one.epoch(epoch) for one in self._by_seed.values()), strict=True):
            batches = tuple(self._for_each([on_device(batch, self._device) for batch in step]))
            yield JoinedBatch(batches, batches[0] if self.shared else _combine(batches))

    def _for_each(self, by_seed: Sequence[_T]) -> list[_T]:
        """Return the item of each network, given the item of each seed."""
        items = dict(zip(self._by_seed, by_seed, strict=True))
        return [items[seed] for seed in self._seeds]


def _combine(batches: Sequence[BatchLike]) -> BatchLike:
    """Return all batches in one, with an axis for the networks."""
    weights = [batch.weights for batch in batches if batch.weights is not None]
    return Batch(
        torch.stack([batch.inputs for batch in batches]),
        torch.stack([batch.targets for batch in batches]),
        torch.stack(weights) if weights else None,
        torch.stack([batch.indices for batch in batches]),
    )


def _split(combined: Batch) -> tuple[BatchLike, ...]:
    """Return the batch of each network."""
    inputs, targets, weights, indices = combined
    rows = [None] * len(inputs) if weights is None else weights
    return tuple(Batch(*row) for row in zip(inputs, targets, rows, indices, strict=True))
