"""The batches of all networks, combined into one batch with an axis for the networks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias, TypeVar

import torch
from torch.utils.data import DataLoader

from mlpkit._checks import Unquoted, error_message
from mlpkit._protocols import Batch
from mlpkit.training._config import FilledConfig
from mlpkit.training._run import train_batches
from mlpkit.training.batches import (
    BatchLike,
    BatchSource,
    IndexedSource,
    TrainingData,
    on_device,
)

__all__ = ["JoinedBatch", "JoinedBatches"]

_T = TypeVar("_T")
_Key: TypeAlias = tuple[int, int | None]  # the id of the examples, and the seed of their order


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
        train: Examples that each network is trained on; several networks may have the same.
        configs: The settings of each network.
        device: Device of the networks.

    Attributes:
        shared: Whether all networks have the same batches.
    """

    def __init__(
        self,
        train: Sequence[TrainingData],
        configs: Sequence[FilledConfig],
        device: torch.device,
    ) -> None:
        self._keys: list[_Key] = []
        self._sources: dict[_Key, BatchSource] = {}
        for part, config in zip(train, configs, strict=True):
            if isinstance(part, DataLoader):
                rule = "LabeledTensors or Batches for several networks"
                cure = "wrap tensors in LabeledTensors(inputs, targets)"
                raise TypeError(error_message("train", rule, type(part).__name__, cure))
            # The order of a source does not depend on the seeds.
            key = (id(part), None if isinstance(part, BatchSource) else config.seed)
            self._keys.append(key)
            if key not in self._sources:
                self._sources[key] = train_batches(config, part)
        self._same_examples = len({id(part) for part in train}) == 1
        self._accumulation_steps = configs[0].gradient_accumulation_steps
        self._device = device
        self.shared = len(self._sources) == 1

    @property
    def sources(self) -> list[BatchSource]:
        """The batches of each network."""
        return self._for_each(list(self._sources.values()))

    @property
    def num_steps(self) -> int:
        """Number of steps of an epoch."""
        return -(-len(self.sources[0]) // self._accumulation_steps)

    def epoch(self, epoch: int) -> Iterator[list[JoinedBatch]]:
        """Yield the microbatches of each step of an epoch."""
        indexed = [one for one in self._sources.values() if isinstance(one, IndexedSource)]
        all_indexed = len(indexed) == len(self._sources) > 1
        if all_indexed and self._same_examples and not any(one.is_augmented for one in indexed):
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
        steps = zip(*(one.epoch(epoch) for one in self._sources.values()), strict=True)
        for number, step in enumerate(steps):
            if number == 0:  # the other batches of a network are like its first
                _check_alike(self._for_each(step))
            batches = tuple(self._for_each([on_device(batch, self._device) for batch in step]))
            yield JoinedBatch(batches, batches[0] if self.shared else _combine(batches))

    def _for_each(self, of_sources: Sequence[_T]) -> list[_T]:
        """Return the item of each network, given the item of each source."""
        items = dict(zip(self._sources, of_sources, strict=True))
        return [items[key] for key in self._keys]


def _combine(batches: Sequence[BatchLike]) -> BatchLike:
    """Return all batches in one, with an axis for the networks."""
    weights = [batch.weights for batch in batches if batch.weights is not None]
    return Batch(
        torch.stack([batch.inputs for batch in batches]),
        torch.stack([batch.targets for batch in batches]),
        torch.stack(weights) if weights else None,
        torch.stack([batch.indices for batch in batches]),
    )


def _check_alike(batches: Sequence[BatchLike]) -> None:
    """Raise if the examples of two networks cannot be in one stack.

    Raises:
        ValueError: If they differ in shape or type, or if only some have weights.
    """
    kinds = list(map(_kind_of_batch, batches))
    for number, kind in enumerate(kinds):
        if kind != kinds[0]:
            rule = f"examples like those of train[0] ({kinds[0]})"
            cure = "give all networks examples with the same shapes and dtypes, and weights or none"
            raise ValueError(error_message(f"train[{number}]", rule, Unquoted(f"({kind})"), cure))


def _kind_of_batch(batch: BatchLike) -> str:
    """Return the shape and dtype of one example of a batch."""
    parts = {"inputs": batch.inputs, "targets": batch.targets, "weights": batch.weights}
    shown = {name: part for name, part in parts.items() if part is not None}
    return ", ".join(f"{name} {(*one.shape[1:],)} {one.dtype}" for name, one in shown.items())


def _split(combined: Batch) -> tuple[BatchLike, ...]:
    """Return the batch of each network."""
    inputs, targets, weights, indices = combined
    rows = [None] * len(inputs) if weights is None else weights
    return tuple(Batch(*row) for row in zip(inputs, targets, rows, indices, strict=True))
