"""Batches of examples whose order is a pure function of the seed and the epoch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from mlpkit._checks import Unquoted, check_bool, check_int, error_message, stable_repr
from mlpkit._protocols import Batch
from mlpkit.data._random import derive, permutation, random_bits
from mlpkit.data.augment import Augmentation, check_augmentation

_ORDER_STREAM = 0x08DE8
_BALANCE_STREAM = 0xBA1A
_ROUND_STREAM = 0x80D


class Examples(Protocol):
    """The attributes of a data set that :class:`Batches` reads, as in :class:`LabeledTensors`."""

    @property
    def inputs(self) -> Tensor:
        """Inputs, shape (N, ...)."""
        ...

    @property
    def targets(self) -> Tensor:
        """Class indices, int64 of shape (N,), or floating-point targets of shape (N, ...)."""
        ...

    @property
    def weights(self) -> Tensor | None:
        """Weight of each example, shape (N,), or None."""
        ...

    @property
    def class_counts(self) -> Tensor:
        """Number of examples of each class, int64, shape (C,)."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash of the content."""
        ...

    @property
    def device(self) -> torch.device:
        """Device of the tensors."""
        ...

    def __len__(self) -> int: ...


@runtime_checkable
class _MappedExamples(Protocol):
    """Examples whose inputs may be in files."""

    @property
    def is_mapped(self) -> bool: ...

    def _gather_inputs(self, indices: Tensor) -> Tensor: ...


class Batches:
    r"""Batches of every epoch, each a pure function of (seed, epoch, index of the batch).

    There is no state between batches. A run can therefore resume exactly at any batch of any epoch,
    and the processes of a distributed run agree on the order without communication.

    The order sorts the examples by a 64-bit hash of (seed, epoch, index), which is the same on
    every device. There is no iteration without an epoch: write ``for batch in batches.epoch(0)``,
    with another number in each epoch.

    Args:
        data: The examples, usually :class:`LabeledTensors`.
        batch_size: Number of examples in a batch, at least 1.
        shuffle: Whether to shuffle the examples in every epoch. If False, every epoch has the order
            of the data.
        seed: Seed of the order and of ``augment``, at least 0.
        drop_last: Whether to drop the last batch of an epoch if it is incomplete.
        balanced: Whether to draw every class equally often. An epoch still has N examples: N / C of
            each of the C classes, rounded down or up. Of a common class, each epoch leaves out
            different examples. Of a rare class, the numbers of repetitions of its examples differ
            by at most one. Any C consecutive examples that start at a multiple of C belong to C
            different classes. Requires class indices as targets and ``shuffle=True``.
        augment: Augmentation of the inputs of each batch. None leaves the inputs unchanged.

    Raises:
        TypeError: If an argument has the wrong type, or ``augment`` is a class instead of an
            instance.
        ValueError: If a number is out of range, ``data`` is empty, or its classes cannot be
            balanced.

    Example:
        >>> import torch
        >>> from mlpkit.data import Batches, LabeledTensors
        >>> data = LabeledTensors(torch.arange(5.0).unsqueeze(1), torch.tensor([0, 1, 0, 1, 0]))
        >>> batches = Batches(data, 2, seed=1)
        >>> len(batches)
        3
        >>> first = [batch.indices.tolist() for batch in batches.epoch(0)]
        >>> resumed = [batch.indices.tolist() for batch in batches.epoch(0, start=1)]
        >>> first[1:] == resumed
        True
    """

    def __init__(
        self,
        data: Examples,
        batch_size: int,
        *,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        balanced: bool = False,
        augment: Augmentation | None = None,
    ) -> None:
        self.data = data
        self.batch_size = check_int("batch_size", batch_size, minimum=1)
        self.shuffle = check_bool("shuffle", shuffle)
        self.seed = check_int("seed", seed, minimum=0)
        self.drop_last = check_bool("drop_last", drop_last)
        self.balanced = check_bool("balanced", balanced)
        self.augment = augment
        if augment is not None:
            check_augmentation("augment", augment, rule="an augmentation or None")
        self._check()
        self._mapped = data if isinstance(data, _MappedExamples) and data.is_mapped else None
        self._by_class = _indices_by_class(data) if balanced else None

    def _check(self) -> None:
        """Check the data, and the rules that concern several arguments."""
        if not hasattr(self.data, "targets"):  # inputs in files may be copied
            found = Unquoted(type(self.data).__name__)
            cure = "LabeledTensors(inputs, targets) makes one"
            raise TypeError(error_message("data", "LabeledTensors", found, cure))
        if not len(self.data):
            raise ValueError(error_message("data", "a data set with examples", self.data))
        if self.drop_last and self.batch_size > len(self.data):
            rule = f"at most the number of examples ({len(self.data)}) if drop_last is True"
            raise ValueError(error_message("batch_size", rule, self.batch_size))
        if self.balanced and not self.shuffle:
            raise ValueError(error_message("shuffle", "True if balanced is True", self.shuffle))

    @property
    def num_examples(self) -> int:
        """Number of examples in one epoch."""
        total = len(self.data)
        return total - total % self.batch_size if self.drop_last else total

    @property
    def fingerprint(self) -> str:
        """Hash of the data and of every option that affects the batches."""
        order = (self.batch_size, self.shuffle, self.seed, self.drop_last, self.balanced)
        described = repr((self.data.fingerprint, order, stable_repr(self.augment)))
        return hashlib.blake2b(described.encode(), digest_size=16).hexdigest()

    def __len__(self) -> int:
        return -(-self.num_examples // self.batch_size)

    def __repr__(self) -> str:
        return f"Batches({len(self)} of {self.batch_size} examples from {self.data!r})"

    @property
    def device(self) -> torch.device:
        """Device of the examples."""
        return self.data.device

    @property
    def is_augmented(self) -> bool:
        """Whether the inputs of an example change from epoch to epoch."""
        return self.augment is not None

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """Return an iterator over the batches of an epoch.

        Args:
            epoch: Epoch, counted from 0.
            start: Index of the first batch, counted from 0, at most the number of batches.

        Raises:
            TypeError: If an argument is not an integer.
            ValueError: If an argument is out of range.
        """
        epoch, start = self._check_epoch(epoch, start)
        return self._epoch(epoch, start)

    def batch_indices(self, epoch: int, *, start: int = 0) -> Iterator[Tensor]:
        """Return an iterator over the example indices of each batch, int64, for :meth:`gather`.

        Args:
            epoch: Epoch, as in :meth:`epoch`.
            start: Index of the first batch, as in :meth:`epoch`.

        Raises:
            TypeError: If an argument is not an integer.
            ValueError: If an argument is out of range.
        """
        epoch, start = self._check_epoch(epoch, start)
        order = self._order(epoch)
        return (order[rows] for rows in self._slices(start))

    def gather(self, indices: Tensor, *, epoch: int) -> Batch:
        """Return the examples at these indices as a batch, augmented as in an epoch.

        Args:
            indices: Indices into the data, int64, shape (n,), on the device of the data.
            epoch: Epoch, counted from 0.

        Raises:
            ValueError: If an input that is mapped from a file is not finite.
        """
        data, weights = self.data, self.data.weights
        if self._mapped is None:
            inputs = data.inputs.index_select(0, indices)
        else:
            inputs = self._mapped._gather_inputs(indices)
        inputs = self._augment(inputs, indices, epoch)
        targets = data.targets.index_select(0, indices)
        weights = None if weights is None else weights.index_select(0, indices)
        return Batch(inputs, targets, weights, indices)

    def _augment(self, inputs: Tensor, indices: Tensor, epoch: int) -> Tensor:
        if self.augment is None:
            return inputs
        return self.augment(inputs, seed=self.seed, epoch=epoch, indices=indices)

    def _check_epoch(self, epoch: int, start: int) -> tuple[int, int]:
        epoch = check_int("epoch", epoch, minimum=0)
        start = check_int("start", start, minimum=0)
        if start > len(self):
            rule = f"at most the number of batches ({len(self)})"
            raise ValueError(error_message("start", rule, start))
        return epoch, start

    def _epoch(self, epoch: int, start: int) -> Iterator[Batch]:
        order = self._order(epoch)
        for rows in self._slices(start):
            # A copy, also of consecutive examples: a model may change its input in place.
            yield self.gather(order[rows], epoch=epoch)

    def _slices(self, start: int) -> Iterator[slice]:
        """Yield the slice of the order that each batch takes."""
        for batch in range(start, len(self)):
            low = batch * self.batch_size
            yield slice(low, min(low + self.batch_size, self.num_examples))

    def _order(self, epoch: int) -> Tensor:
        """Return the example indices of an epoch in order, int64, shape (N,)."""
        count, device = len(self.data), self.data.device
        if self._by_class is not None:
            return self._balanced_order(self._by_class, epoch)
        if not self.shuffle:
            return torch.arange(count, device=device)
        return permutation(derive(self.seed, _ORDER_STREAM, epoch), count, device)

    def _balanced_order(self, by_class: list[Tensor], epoch: int) -> Tensor:
        """Return rounds with one example of each class; the classes of a round are shuffled."""
        rounds = -(-len(self.data) // len(by_class))
        columns = []
        for label, members in enumerate(by_class):
            repeats = -(-rounds // len(members))
            state = derive(self.seed, _BALANCE_STREAM, epoch, label)
            counters = torch.arange(repeats * len(members), device=members.device)
            passes = random_bits(state, counters).view(repeats, -1).argsort(dim=1)
            columns.append(members[passes.flatten()[:rounds]])
        table = torch.stack(columns, dim=1)
        counters = torch.arange(table.numel(), device=table.device).view_as(table)
        state = derive(self.seed, _ROUND_STREAM, epoch)
        shuffled = table.gather(1, random_bits(state, counters).argsort(dim=1))
        return shuffled.flatten()[: len(self.data)]


def _indices_by_class(data: Examples) -> list[Tensor]:
    """Return the example indices of each class, each int64 and in ascending order."""
    if data.targets.is_floating_point():
        rule = "class indices if balanced is True"
        raise ValueError(error_message("targets", rule, data.targets.dtype))
    counts = data.class_counts
    if not counts.all():
        empty = int((counts == 0).nonzero()[0])
        rule = "a data set with examples of every class if balanced is True"
        raise ValueError(error_message("data", rule, Unquoted(f"no examples of class {empty}")))
    by_class = torch.argsort(data.targets, stable=True)
    return list(torch.split(by_class, counts.tolist()))
