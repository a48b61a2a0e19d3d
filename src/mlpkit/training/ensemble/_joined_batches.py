"""The batches of many networks, each in an order of its own, joined to one batch for all."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch.utils.data import DataLoader

from mlpkit._checks import error_message
from mlpkit._protocols import Batch
from mlpkit.training._config import TrainerConfig
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
    """A batch of all networks.

    Attributes:
        own: The batch of each network; one object for all where they share it.
        whole: All of them in one, with an axis for the networks unless they share it.
    """

    own: tuple[BatchLike, ...]
    whole: BatchLike


class JoinedBatches:
    """The batches of all networks, each in the order of its seed."""

    def __init__(
        self, train: TrainingData, configs: Sequence[TrainerConfig], device: torch.device
    ) -> None:
        if isinstance(train, DataLoader):
            rule = "LabeledTensors or Batches for several networks at once"
            cure = "wrap tensors as LabeledTensors(inputs, targets)"
            raise TypeError(error_message("train", rule, type(train).__name__, cure))
        seeds = [config.seed for config in configs]
        if isinstance(train, BatchSource):  # it has an order of its own
            seeds = seeds[:1] * len(seeds)
        size = configs[0].batch_size
        self._by_seed = {
            seed: as_batches("train", train, batch_size=size, shuffle=True, seed=seed)
            for seed in dict.fromkeys(seeds)
        }
        self._seeds = seeds
        self._accumulate = configs[0].gradient_accumulation_steps
        self._device = device
        self.shared = len(self._by_seed) == 1

    @property
    def sources(self) -> list[BatchSource]:
        """The batches of each network."""
        return [self._by_seed[seed] for seed in self._seeds]

    @property
    def num_steps(self) -> int:
        """Number of steps of an epoch."""
        return -(-len(self.sources[0]) // self._accumulate)

    def epoch(self, epoch: int) -> Iterator[list[JoinedBatch]]:
        """Give what makes one step, for all networks, over one epoch."""
        gathering = [one for one in self._by_seed.values() if isinstance(one, IndexedSource)]
        at_once = len(gathering) == len(self._by_seed) > 1
        if at_once and not any(one.is_augmented for one in gathering):
            joined = self._gathered(gathering, epoch)
        else:
            joined = self._loaded(epoch)
        while window := list(itertools.islice(joined, self._accumulate)):
            yield window

    def _gathered(self, sources: Sequence[IndexedSource], epoch: int) -> Iterator[JoinedBatch]:
        """Give batches of examples that are taken from the data for all networks at once."""
        for positions in zip(*(one.batch_indices(epoch) for one in sources), strict=True):
            indices = torch.stack(self._for_each(positions))  # (K, N)
            found = on_device(sources[0].gather(indices.flatten(), epoch=epoch), self._device)
            inputs, targets, weights = found.inputs, found.targets, found.weights
            whole = Batch(
                inputs.reshape(*indices.shape, *inputs.shape[1:]),
                targets.reshape(*indices.shape, *targets.shape[1:]),
                None if weights is None else weights.reshape(indices.shape),
                found.indices.view(indices.shape),
            )
            yield JoinedBatch(_parts(whole), whole)

    def _loaded(self, epoch: int) -> Iterator[JoinedBatch]:
        """Give batches as the sources make them."""
        for step in zip(*(one.epoch(epoch) for one in self._by_seed.values()), strict=True):
            own = tuple(self._for_each([on_device(batch, self._device) for batch in step]))
            yield JoinedBatch(own, own[0] if self.shared else _whole(own))

    def _for_each(self, by_seed: Sequence[_T]) -> list[_T]:
        """Return what each network has, given what each seed has."""
        found = dict(zip(self._by_seed, by_seed, strict=True))
        return [found[seed] for seed in self._seeds]


def _whole(batches: Sequence[BatchLike]) -> BatchLike:
    """Return all batches in one, with an axis for the networks."""
    weights = [batch.weights for batch in batches if batch.weights is not None]
    return Batch(
        torch.stack([batch.inputs for batch in batches]),
        torch.stack([batch.targets for batch in batches]),
        torch.stack(weights) if weights else None,
        torch.stack([batch.indices for batch in batches]),
    )


def _parts(whole: Batch) -> tuple[BatchLike, ...]:
    """Return the batch of each network."""
    weights = [None] * len(whole.inputs) if whole.weights is None else whole.weights
    each = zip(whole.inputs, whole.targets, weights, whole.indices, strict=True)
    return tuple(Batch(*parts) for parts in each)
