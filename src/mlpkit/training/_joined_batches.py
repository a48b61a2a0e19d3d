"""The batches of many networks, each in an order of its own, joined to one batch for all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch.utils.data import DataLoader

from mlpkit._checks import sentence
from mlpkit.training._config import TrainerConfig
from mlpkit.training._sources import (
    BatchLike,
    BatchSource,
    LoadedBatch,
    TrainingData,
    as_batches,
    windows,
)

__all__ = ["JoinedBatch", "JoinedBatches"]


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
            raise TypeError(sentence("train", rule, type(train).__name__, cure))
        seeds = [config.seed for config in configs]
        if isinstance(train, BatchSource):  # it has an order of its own
            seeds = seeds[:1] * len(seeds)
        size = configs[0].batch_size
        self._by_seed = {
            seed: as_batches("train", train, batch_size=size, shuffle=True, seed=seed)
            for seed in dict.fromkeys(seeds)
        }
        self._seeds = seeds
        self._accumulate = configs[0].accumulate
        self._device = device
        self.shared = len(self._by_seed) == 1

    @property
    def sources(self) -> list[BatchSource]:
        """The batches of each network."""
        return [self._by_seed[seed] for seed in self._seeds]

    def epoch(self, epoch: int) -> Iterator[list[JoinedBatch]]:
        """Give what makes one step, for all networks, over one epoch."""
        sources = self._by_seed.values()
        steps = [windows(one.epoch(epoch), self._accumulate, self._device) for one in sources]
        for step in zip(*steps, strict=True):
            by_seed = dict(zip(self._by_seed, step, strict=True))
            each = [by_seed[seed] for seed in self._seeds]
            yield [self._joined(batches) for batches in zip(*each, strict=True)]

    def _joined(self, batches: tuple[BatchLike, ...]) -> JoinedBatch:
        if self.shared:
            return JoinedBatch(batches, batches[0])
        weights = [batch.weights for batch in batches if batch.weights is not None]
        return JoinedBatch(
            batches,
            LoadedBatch(
                torch.stack([batch.inputs for batch in batches]),
                torch.stack([batch.targets for batch in batches]),
                torch.stack(weights) if weights else None,
                torch.stack([batch.indices for batch in batches]),
            ),
        )
