"""A DataLoader that is read from epoch to epoch without beginning again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from mlpkit._checks import Unquoted, error_message
from mlpkit._devices import seed_of
from mlpkit._protocols import Batch
from mlpkit.training.batches._data_loader import LoaderBatches, checked_batch
from mlpkit.training.batches._sources import BatchSource, HasState

__all__ = ["StatefulStream", "StreamBatches", "state_holder"]


class StreamBatches:
    """Epochs of ``num_batches`` batches of a ``DataLoader``, which are not passes over its data.

    When a pass ends within an epoch, the next one begins. What the loader draws from torch's global
    generator comes from a private random stream, so it neither depends on the caller nor on the
    model. The batches cannot be read a second time.

    Args:
        source: The loader.
        num_batches: Number of batches of an epoch, at least 1.
    """

    num_examples: int | None = None

    def __init__(self, source: LoaderBatches, num_batches: int) -> None:
        self.loader = source.loader
        self._num_batches = num_batches
        self._seed = source.seed
        self.fingerprint = source.fingerprint
        self._read = 0  # batches since the beginning of the run
        self._batches: Iterator[object] | None = None
        self._random_state = self._state_of_seed(-1)

    def __len__(self) -> int:
        return self._num_batches

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:  # noqa: ARG002
        """Yield the next ``len(self) - start`` batches."""
        for _ in range(start, self._num_batches):
            yield checked_batch(self._next())

    def continue_from(self, other: BatchSource) -> None:
        """Continue after the batches that ``other`` has read, if it reads the same loader."""
        if isinstance(other, StreamBatches) and other.loader is self.loader:
            self._read, self._random_state = other._read, other._random_state
            self._batches = other._batches

    def _next(self) -> object:
        for _ in range(2):  # the first pass may be at its end
            if self._batches is None:
                # The seeds of workers must depend on the position alone.
                with _generator_state(self._state_of_seed(self._read)):
                    self._batches = iter(self.loader)
            with _generator_state(self._random_state) as advanced:
                batch = next(self._batches, None)
            self._random_state = advanced.get_state()
            if batch is not None:
                self._read += 1
                return batch
            self._batches = None
        rule = "a stream with at least one batch in each pass"
        cure = "__iter__ must begin a new pass each time it is called"
        got = Unquoted(f"none after {self._read} batches")
        raise ValueError(error_message("train", rule, got, cure))

    def _state_of_seed(self, position: int) -> Tensor:
        seed = seed_of(f"mlpkit.loader {self._seed} {position}")
        return torch.Generator().manual_seed(seed).get_state()


class StatefulStream(StreamBatches):
    """A stream whose position can be saved and restored.

    Args:
        source: The loader.
        num_batches: Number of batches of an epoch, at least 1.
        holder: The loader or its data set, whose state is that after the latest batch.
    """

    def __init__(self, source: LoaderBatches, num_batches: int, holder: HasState) -> None:
        super().__init__(source, num_batches)
        self._holder = holder

    def state_dict(self) -> dict[str, object]:
        """Return the state after the latest batch."""
        with _generator_state(self._state_of_seed(self._read)):  # it may create an iterator
            state = self._holder.state_dict()
        return {"read": self._read, "random": self._random_state, "source": state}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Restore what :meth:`state_dict` returned."""
        read, random_state, source = state["read"], state["random"], state["source"]
        assert isinstance(read, int)
        assert isinstance(random_state, Tensor)
        assert isinstance(source, Mapping)
        self._holder.load_state_dict(dict(source))
        self._read, self._random_state, self._batches = read, random_state, None

    def continue_from(self, other: BatchSource) -> None:
        """Continue after the batches that ``other`` has read, if it reads the same loader."""
        if isinstance(other, StatefulStream) and other.loader is self.loader:
            self.load_state_dict(other.state_dict())


@contextlib.contextmanager
def _generator_state(state: Tensor) -> Iterator[torch.Generator]:
    """Give torch's global generator of the CPU a state within a ``with`` block.

    The yielded generator has the state of the end of the block.
    """
    generator, found = torch.default_generator, torch.Generator()
    caller_state = generator.get_state()
    generator.set_state(state)
    try:
        yield found
    finally:
        found.set_state(generator.get_state())
        generator.set_state(caller_state)


def state_holder(loader: DataLoader[tuple[Tensor, ...]]) -> HasState | None:
    """Return what has the position of a loader as its state; None if nothing has.

    The data set of a loader with workers is a copy in each of them.
    """
    if isinstance(loader, HasState):
        return loader
    dataset: object = loader.dataset
    is_read_here = isinstance(dataset, IterableDataset) and loader.num_workers == 0
    return dataset if is_read_here and isinstance(dataset, HasState) else None
