"""What the trainer takes batches from: two small protocols, and an adapter for a DataLoader."""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Iterator, Sized
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from mlpkit._checks import error_message
from mlpkit._protocols import Batch

__all__ = [
    "BatchLike",
    "BatchSource",
    "Examples",
    "IndexedSource",
    "LazyBatch",
    "LoaderBatches",
    "TrainingData",
    "as_batches",
    "microbatches",
    "on_device",
]


@runtime_checkable
class BatchLike(Protocol):
    """One batch: what a training step reads.

    Attributes:
        inputs: What the model is called with, of shape ``(N, ...)``.
        targets: Class indices (int64, ``(N,)``), target distributions (float, ``(N, C)``) or
            regression targets (float, ``(N, ...)``).
        weights: One weight for each example, ``(N,)``, or None where all weigh the same.
        indices: The position of each example in its data set, int64, ``(N,)``.
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


TrainingData: TypeAlias = Examples | BatchSource | DataLoader[tuple[Tensor, ...]]


class LazyBatch:
    """A batch that is gathered when its inputs, targets or weights are first asked for.

    Args:
        source: Gathers it.
        indices: Positions of its examples.
        epoch: The epoch that it belongs to.
    """

    def __init__(self, source: IndexedSource, indices: Tensor, epoch: int) -> None:
        self.source = source
        self.indices = indices
        self.epoch = epoch

    @functools.cached_property
    def _gathered(self) -> BatchLike:
        return self.source.gather(self.indices, epoch=self.epoch)

    @property
    def inputs(self) -> Tensor:
        """What the model is called with."""
        return self._gathered.inputs

    @property
    def targets(self) -> Tensor:
        """What the output is compared with."""
        return self._gathered.targets

    @property
    def weights(self) -> Tensor | None:
        """One weight for each example, or None."""
        return self._gathered.weights


class LoaderBatches:
    """A torch ``DataLoader`` of ``(inputs, targets)`` or ``(inputs, targets, weights)`` as batches.

    The order of epoch ``e`` is made a pure function of ``(seed, e)``: torch's global generator is
    seeded from the two while the loader draws its permutation and the seeds of its workers, and
    put back afterwards. A resume in mid-epoch reads the skipped batches again. It is exact as long
    as the data set draws its random numbers from torch alone and the loader has no ``generator``
    of its own; such a loader goes on with whatever its generator holds.
    ``indices`` are positions in the order of this epoch, since a loader does not tell others.
    """

    def __init__(self, loader: DataLoader[tuple[Tensor, ...]], *, seed: int = 0) -> None:
        self._loader = loader
        self._seed = seed
        dataset: object = loader.dataset
        if not isinstance(dataset, Sized) or loader.batch_size is None:
            raise ValueError(
                error_message(
                    "a DataLoader",
                    "one over a data set with a length, with a batch_size",
                    loader,
                    "wrap the data set so that it has __len__, or write a BatchSource",
                )
            )
        self.num_examples: int = (
            len(loader) * loader.batch_size if loader.drop_last else len(loader.sampler)  # type: ignore[arg-type]  # torch types a sampler without its length
        )

    def __len__(self) -> int:
        """Return the number of batches in one epoch."""
        return len(self._loader)

    @property
    def fingerprint(self) -> str:
        """What can be told of the data, its sizes, classes, and a ``TensorDataset``'s tensors."""
        loader = self._loader
        dataset: object = loader.dataset
        parts = [type(dataset).__qualname__, type(loader.sampler).__qualname__]
        parts += [str(self.num_examples), str(loader.batch_size), str(loader.drop_last)]
        if isinstance(dataset, TensorDataset):
            parts += [_digest(tensor) for tensor in dataset.tensors]
        return hashlib.sha256("\0".join([*parts, str(self._seed)]).encode()).hexdigest()

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """Give the batches of one epoch, from batch number ``start`` on."""
        generator = torch.default_generator
        outside = generator.get_state()
        try:
            digest = hashlib.sha256(f"mlpkit.loader {self._seed} {epoch}".encode()).digest()
            generator.manual_seed(int.from_bytes(digest[:7]))
            batches = iter(self._loader)
            # The permutation is drawn with the first batch; what is skipped is drawn here too,
            # so that the trainer's stream stays where the checkpoint put it.
            first = list(itertools.islice(batches, start, start + 1))
        finally:
            generator.set_state(outside)
        position = start * (self._loader.batch_size or 1)
        for batch in itertools.chain(first, batches):
            inputs, targets, *weights = _checked(batch)
            yield Batch(
                inputs,
                targets,
                weights[0] if weights else None,
                torch.arange(position, position + len(targets)),
            )
            position += len(targets)


def on_device(batch: BatchLike, device: torch.device) -> BatchLike:
    """Return the batch on ``device``: itself where it is there already."""
    if batch.inputs.device == device and batch.targets.device == device:
        return batch
    weights = batch.weights
    return Batch(
        batch.inputs.to(device, non_blocking=True),
        batch.targets.to(device, non_blocking=True),
        None if weights is None else weights.to(device, non_blocking=True),
        batch.indices.to(device, non_blocking=True),
    )


def microbatches(
    batches: Iterator[BatchLike], size: int, device: torch.device
) -> Iterator[list[BatchLike]]:
    """Give ``size`` batches at a time, on ``device``; the last time perhaps fewer."""
    while window := [on_device(batch, device) for batch in itertools.islice(batches, size)]:
        yield window


def _checked(batch: object) -> tuple[Tensor, ...] | list[Tensor]:
    if (
        isinstance(batch, tuple | list)
        and len(batch) in (2, 3)
        and all(isinstance(part, Tensor) for part in batch)
    ):
        return batch
    shown = [type(part).__name__ for part in batch] if isinstance(batch, tuple | list) else batch
    raise TypeError(
        error_message(
            "a batch of a DataLoader",
            "(inputs, targets) or (inputs, targets, weights), all tensors",
            shown,
            "give the DataLoader a collate_fn that returns these",
        )
    )


def _digest(tensor: Tensor) -> str:
    """Return a digest of at most 1,024 evenly spaced rows, with shape and dtype."""
    rows = tensor[:: max(1, len(tensor) // 1024)].detach().cpu().contiguous()
    content = hashlib.sha256(rows.view(torch.uint8).numpy().tobytes()).hexdigest()
    return f"{tuple(tensor.shape)} {tensor.dtype} {content}"


def as_batches(
    argument: str, data: object, *, batch_size: int, shuffle: bool, seed: int
) -> BatchSource:
    """Return ``data`` as batches: a source as it is, examples and loaders wrapped.

    Raises:
        TypeError: If ``data`` is none of the three.
        ValueError: If there is no batch in it.
    """
    source: BatchSource
    if isinstance(data, DataLoader):
        source = LoaderBatches(data, seed=seed)
    elif isinstance(data, BatchSource):
        source = data
    elif isinstance(data, Examples):
        source = data.batches(batch_size, shuffle=shuffle, seed=seed)
    else:
        raise TypeError(
            error_message(
                argument,
                "LabeledTensors, Batches or a DataLoader",
                type(data).__name__,
                "wrap tensors as LabeledTensors(inputs, targets)",
            )
        )
    if len(source) == 0:
        raise ValueError(error_message(argument, "at least one batch", 0, "give it examples"))
    return source
