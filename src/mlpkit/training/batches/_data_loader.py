"""A torch DataLoader as a source of batches."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sized

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from mlpkit._checks import error_message
from mlpkit._protocols import Batch

__all__ = ["LoaderBatches"]


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
