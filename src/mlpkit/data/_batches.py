"""The order in which examples are trained on: a pure function of the seed and the epoch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor

from mlpkit._checks import check_bool, check_int, error_message, stable_repr
from mlpkit._protocols import Batch
from mlpkit.data._labeled_tensors import LabeledTensors
from mlpkit.data._random import derive, permutation, random_bits
from mlpkit.data.augment import Augmentation, checked_augmentation

_ORDER_STREAM = 0x08DE8
_BALANCE_STREAM = 0xBA1A
_ROUND_STREAM = 0x80D


class Batches:
    r"""The batches of any epoch, each a pure function of (seed, epoch, number of the batch).

    Nothing is carried from batch to batch, so that a run continues exactly at any batch of any
    epoch, and several ranks agree on the order without a word: batch b is the same set of
    examples for every ``world_size``, and rank r takes a contiguous slice of it.

    The order is that of a 64-bit hash of (seed, epoch, index): the same on every device.

    Args:
        data: The examples.
        batch_size: Examples in a batch, over all ranks together.
        shuffle: Whether each epoch has an order of its own; if False, the order of the data.
        seed: Seed of the order and of ``augment``.
        drop_last: Whether a last batch that is not full is left out.
        balanced: Whether every class is drawn equally often. An epoch is still N examples: N / C
            of each of the C classes, rounded down or up. Common classes leave examples out, others
            in each epoch; rare ones repeat theirs, each equally often up to one. Any C successive
            examples that start at a multiple of C are of C different classes.
        augment: Applied to the inputs of each batch; None leaves them as they are.
        rank: Number of this process among those that train together.
        world_size: How many processes train together. If a batch does not divide evenly, the
            slices of the ranks differ by one example; the last batch may leave a rank without.

    Raises:
        TypeError: If an argument is of another type, or ``augment`` is a class, not an instance.
        ValueError: If a number is out of range, ``data`` are empty or their targets cannot be
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
        data: LabeledTensors,
        batch_size: int,
        *,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        balanced: bool = False,
        augment: Augmentation | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.data = data
        self.batch_size = check_int("batch_size", batch_size, minimum=1)
        self.shuffle = check_bool("shuffle", shuffle)
        self.seed = check_int("seed", seed, minimum=0)
        self.drop_last = check_bool("drop_last", drop_last)
        self.balanced = check_bool("balanced", balanced)
        self.augment = checked_augmentation(augment)
        self.world_size = check_int("world_size", world_size, minimum=1)
        self.rank = check_int("rank", rank, minimum=0)
        self._check()
        self._by_class = _members(data) if balanced else None

    def _check(self) -> None:
        if not len(self.data):
            raise ValueError(error_message("data", "one example or more", self.data))
        if self.rank >= self.world_size:
            rule = f"less than world_size ({self.world_size})"
            raise ValueError(error_message("rank", rule, self.rank))
        if self.batch_size < self.world_size:
            rule = f"at least world_size ({self.world_size})"
            cure = "a batch is shared among all ranks"
            raise ValueError(error_message("batch_size", rule, self.batch_size, cure))
        if self.drop_last and self.batch_size > len(self.data):
            rule = f"at most the {len(self.data)} examples where drop_last is True"
            raise ValueError(error_message("batch_size", rule, self.batch_size))
        if self.balanced and not self.shuffle:
            raise ValueError(error_message("shuffle", "True where balanced is True", self.shuffle))

    @property
    def num_examples(self) -> int:
        """Examples in one epoch, over all ranks."""
        total = len(self.data)
        return total - total % self.batch_size if self.drop_last else total

    @property
    def fingerprint(self) -> str:
        """A hash of the data and of all that decides the batches, ranks excepted."""
        order = (self.batch_size, self.shuffle, self.seed, self.drop_last, self.balanced)
        described = repr((self.data.fingerprint, order, stable_repr(self.augment)))
        return hashlib.blake2b(described.encode(), digest_size=16).hexdigest()

    def __len__(self) -> int:
        return -(-self.num_examples // self.batch_size)

    def __repr__(self) -> str:
        return f"Batches({len(self)} of {self.batch_size} examples from {self.data!r})"

    @property
    def device(self) -> torch.device:
        """Where the examples are."""
        return self.data.device

    @property
    def is_augmented(self) -> bool:
        """Whether the inputs of an example change from epoch to epoch."""
        return self.augment is not None

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """Return the batches of an epoch, or what is left of them from ``start`` on.

        Args:
            epoch: Number of the epoch, counted from 0.
            start: Number of the first batch to give, counted from 0.

        Raises:
            ValueError: If ``epoch`` is negative or ``start`` lies beyond the last batch.
        """
        number, first = self._checked(epoch, start)
        return self._epoch(number, first)

    def batch_indices(self, epoch: int, *, start: int = 0) -> Iterator[Tensor]:
        """Return the positions of the examples of each batch, int64; :meth:`gather` takes them.

        Args:
            epoch: Number of the epoch, counted from 0.
            start: Number of the first batch to give, counted from 0.

        Raises:
            ValueError: If ``epoch`` is negative or ``start`` lies beyond the last batch.
        """
        number, first = self._checked(epoch, start)
        order = self._order(number)
        return (order[rows] for rows in self._rows(first))

    def gather(self, indices: Tensor, *, epoch: int) -> Batch:
        """Return the examples at these positions, augmented as in an epoch.

        Args:
            indices: Positions in the data, int64, shape (n,), on the device of the data.
            epoch: Number of the epoch, counted from 0.
        """
        data, weights = self.data, self.data.weights
        inputs = self._augmented(data.inputs.index_select(0, indices), indices, epoch)
        targets = data.targets.index_select(0, indices)
        weights = None if weights is None else weights.index_select(0, indices)
        return Batch(inputs, targets, weights, indices)

    def _augmented(self, inputs: Tensor, indices: Tensor, epoch: int) -> Tensor:
        if self.augment is None:
            return inputs
        return self.augment(inputs, seed=self.seed, epoch=epoch, indices=indices)

    def _checked(self, epoch: int, start: int) -> tuple[int, int]:
        number = check_int("epoch", epoch, minimum=0)
        first = check_int("start", start, minimum=0)
        if first > len(self):
            rule = f"at most the number of batches ({len(self)})"
            raise ValueError(error_message("start", rule, start))
        return number, first

    def _epoch(self, epoch: int, start: int) -> Iterator[Batch]:
        order = self._order(epoch)
        for rows in self._rows(start):
            indices = order[rows]
            yield (
                self.gather(indices, epoch=epoch)
                if self.shuffle
                else self._cut(rows, indices, epoch)
            )

    def _rows(self, start: int) -> Iterator[slice]:
        """Give the part of the order that each batch takes on this rank."""
        for batch in range(start, len(self)):
            low = batch * self.batch_size
            size = min(self.batch_size, self.num_examples - low)
            yield slice(
                low + size * self.rank // self.world_size,
                low + size * (self.rank + 1) // self.world_size,
            )

    def _cut(self, rows: slice, indices: Tensor, epoch: int) -> Batch:
        """Return examples that lie side by side, without copying them."""
        data, weights = self.data, self.data.weights
        inputs = self._augmented(data.inputs[rows], indices, epoch)
        weights = None if weights is None else weights[rows]
        return Batch(inputs, data.targets[rows], weights, indices)

    def _order(self, epoch: int) -> Tensor:
        count, device = len(self.data), self.data.device
        if self._by_class is not None:
            return self._balanced_order(self._by_class, epoch)
        if not self.shuffle:
            return torch.arange(count, device=device)
        return permutation(derive(self.seed, _ORDER_STREAM, epoch), count, device)

    def _balanced_order(self, by_class: list[Tensor], epoch: int) -> Tensor:
        """Return rounds of one example of each class, each round in an order of its own."""
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


def _members(data: LabeledTensors) -> list[Tensor]:
    """Return the positions of the examples of each class."""
    if data.targets.is_floating_point():
        rule = "class indices where balanced is True"
        raise ValueError(error_message("targets", rule, data.targets.dtype))
    counts = data.class_counts
    if not counts.all():
        empty = int((counts == 0).nonzero()[0])
        rule = "data with an example of every class where balanced is True"
        raise ValueError(error_message("data", rule, f"none of class {empty}"))
    by_class = torch.argsort(data.targets, stable=True)
    return list(torch.split(by_class, counts.tolist()))
