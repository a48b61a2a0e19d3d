"""Examples in memory: one tensor of inputs, one of targets, and the names of the classes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from mlpkit._checks import check_int, error_message
from mlpkit.data._random import derive, permutation
from mlpkit.data._splits import split_sizes, stratified_counts
from mlpkit.data._validation import (
    checked_indices,
    checked_inputs,
    checked_targets,
    checked_weights,
    class_names,
)
from mlpkit.data.augment import Augmentation

if TYPE_CHECKING:
    from mlpkit.data._batches import Batches

_HASHED_BYTES = 64 * 2**20  # inputs beyond this are hashed by evenly spaced examples


class LabeledTensors:
    r"""Inputs with their targets, whole in memory, on any device.

    Images stay as small as they come: uint8 is kept, and a batch of them is converted where it is
    used. An object is never changed after it is made; every method returns a new one.

    Args:
        inputs: Shape (N, ...): any type and device; floating-point values must be finite.
        targets: Either class indices, of any integer type (kept as int64), shape (N,); or
            floating-point targets, shape (N, C) for distributions over C classes, (N,) or (N, ...)
            for a regression.
        classes: Name of each class, in the order of the class indices. None: the classes have no
            names, or there are none.
        weights: Weight of each example in the loss, finite and not negative, shape (N,). None:
            every example counts alike.

    Shape:
        N examples, with any further axes.

    Raises:
        TypeError: If an argument is not of the type named above.
        ValueError: If lengths differ, a class index lies outside ``classes``, or a value is not
            finite.

    Example:
        >>> import torch
        >>> from mlpkit.data import LabeledTensors
        >>> images = torch.zeros(6, 28, 28, dtype=torch.uint8)
        >>> data = LabeledTensors(images, torch.tensor([0, 1, 0, 1, 0, 1]), ("cat", "dog"))
        >>> data
        LabeledTensors(6 examples of uint8 (28, 28), 2 classes, on cpu)
        >>> train, val = data.split([4, 2])
        >>> val.class_counts.tolist()
        [1, 1]
    """

    def __init__(
        self,
        inputs: Tensor,
        targets: Tensor,
        classes: Sequence[str] | None = None,
        *,
        weights: Tensor | None = None,
    ) -> None:
        self._inputs = checked_inputs(inputs)
        self._classes = class_names(classes)
        self._targets = checked_targets(targets, self._inputs, self._classes)
        self._weights = None if weights is None else checked_weights(weights, self._inputs)
        self._fingerprint: str | None = None

    @classmethod
    def from_dataset(
        cls, dataset: Dataset[object], *, classes: Sequence[str] | None = None
    ) -> LabeledTensors:
        """Read every example of a :class:`torch.utils.data.Dataset` into memory, once.

        Works for torchvision's data sets, with or without transforms; a random transform is drawn
        once for each example and then stays.

        Args:
            dataset: Gives (input, target) pairs. Inputs are tensors, NumPy arrays, numbers or
                Pillow images (uint8, of shape (H, W) if gray, else (channels, H, W)), all of one
                shape and type. Targets are class indices or floating-point tensors or numbers.
            classes: Name of each class. None: the names in ``dataset.classes``, where they are.

        Raises:
            DataError: If an example is not a pair, has another shape or type than the first, or is
                a picture that would lose transparent pixels or more than 8 bits a channel.
            TypeError: If targets are truth values.

        Example:
            >>> import torch
            >>> from torch.utils.data import TensorDataset
            >>> from mlpkit.data import LabeledTensors
            >>> pairs = TensorDataset(torch.rand(5, 3), torch.tensor([0, 1, 2, 1, 0]))
            >>> LabeledTensors.from_dataset(pairs)
            LabeledTensors(5 examples of float32 (3,), 3 classes, on cpu)
        """
        from mlpkit.data._adapters import stack_dataset

        inputs, targets, found = stack_dataset(dataset, named=classes is None)
        return cls(inputs, targets, found if classes is None else classes)

    @classmethod
    def from_numpy(
        cls,
        inputs: npt.ArrayLike,
        targets: npt.ArrayLike,
        classes: Sequence[str] | None = None,
        *,
        weights: npt.ArrayLike | None = None,
    ) -> LabeledTensors:
        """Copy NumPy arrays, or anything that NumPy can read, into tensors.

        Args:
            inputs: Shape (N, ...); the type is kept.
            targets: Class indices, floating-point targets, or class names, which are indexed in
                the order of ``classes``, or in sorted order where that is None.
            classes: Name of each class. None: no names, or those found in ``targets``.
            weights: Weight of each example. None: every example counts alike.

        Raises:
            TypeError: If an array holds objects.
            ValueError: If a target is no member of ``classes``; also as in the constructor.

        Example:
            >>> import numpy as np
            >>> from mlpkit.data import LabeledTensors
            >>> data = LabeledTensors.from_numpy(np.eye(3), np.array(["b", "a", "b"]))
            >>> data.classes, data.targets.tolist()
            (('a', 'b'), [1, 0, 1])
        """
        from mlpkit.data._adapters import indexed_targets, tensor_from_array

        names, indices = indexed_targets(targets, class_names(classes))
        return cls(
            tensor_from_array("inputs", inputs),
            indices,
            names,
            weights=None if weights is None else tensor_from_array("weights", weights),
        )

    @classmethod
    def from_folder(
        cls,
        root: str | os.PathLike[str],
        *,
        size: int | tuple[int, int] | None = None,
        color: bool = False,
    ) -> LabeledTensors:
        """Read a folder of pictures laid out by class: ``root/<class name>/<any name>.png``.

        Classes and files come in sorted order, so that the result does not depend on the machine.
        Hidden files and folders (a leading dot) are left out.

        Args:
            root: The folder that holds one folder for each class.
            size: Pixels that every picture is resized to: (height, width), or one number for a
                square. None: all pictures must have one size already.
            color: Whether pictures are read as RGB, shape (3, H, W), or as gray, shape (H, W).

        Raises:
            DataError: If there is no class folder, a class is empty, a file is no picture, has
                transparent pixels or more than 8 bits a channel, or sizes differ; the message names
                the file.
        """
        from mlpkit.data.images import read_picture_folder

        inputs, targets, classes = read_picture_folder(root, size=size, color=color)
        return cls(inputs, targets, classes)

    @property
    def inputs(self) -> Tensor:
        """The inputs, shape (N, ...)."""
        return self._inputs

    @property
    def targets(self) -> Tensor:
        """The targets, int64 class indices, shape (N,), or floating-point, shape (N, ...)."""
        return self._targets

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Name of each class; None where they have no names."""
        return self._classes

    @property
    def weights(self) -> Tensor | None:
        """Weight of each example, shape (N,); None where all count alike."""
        return self._weights

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self._inputs.device

    @property
    def num_classes(self) -> int | None:
        """How many classes there are, named or up to the highest index; None in a regression."""
        if self._classes is not None:
            return len(self._classes)
        if self._targets.is_floating_point():
            return None
        return int(self._targets.max()) + 1 if len(self) else 0

    @property
    def class_counts(self) -> Tensor:
        """How many examples each class has, int64, shape (C,).

        Raises:
            ValueError: If the targets are not class indices.
        """
        if self._targets.is_floating_point():
            rule = "class indices to be counted"
            raise ValueError(error_message("targets", rule, _described(self._targets)))
        return torch.bincount(self._targets, minlength=self.num_classes or 0)

    @property
    def fingerprint(self) -> str:
        """A hash of the content, the same on every device, as 32 hexadecimal digits.

        Covers shapes, types, targets, weights, class names, and the inputs: every byte up to
        64 MiB, evenly spaced examples beyond that. Computed when first asked for.
        """
        if self._fingerprint is None:
            self._fingerprint = self._hashed()
        return self._fingerprint

    def _hashed(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        digest.update(repr((self._classes, _described(self._targets))).encode())
        digest.update(_bytes(self._targets))
        if self._weights is not None:
            digest.update(_bytes(self._weights))
        digest.update(_described(self._inputs).encode())
        stride = -(-self._inputs.nbytes // _HASHED_BYTES) or 1  # rounded up
        digest.update(_bytes(self._inputs[::stride]))
        return digest.hexdigest()

    def __len__(self) -> int:
        return self._inputs.shape[0]

    def __repr__(self) -> str:
        number = self.num_classes
        described = (
            f"targets {_described(self._targets)}" if number is None else f"{number} classes"
        )
        weighted = ", weighted" if self._weights is not None else ""
        return (
            f"LabeledTensors({len(self)} examples of {_described(self._inputs)}, {described}"
            f"{weighted}, on {self.device})"
        )

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self._inputs, self._targets, strict=True)

    @overload
    def __getitem__(self, index: int | np.integer) -> tuple[Tensor, Tensor]: ...

    @overload
    def __getitem__(self, index: slice | Sequence[int] | Tensor) -> LabeledTensors: ...

    def __getitem__(
        self, index: int | np.integer | slice | Sequence[int] | Tensor
    ) -> tuple[Tensor, Tensor] | LabeledTensors:
        """Return one example as (input, target), or the examples of a slice or of indices.

        A slice shares the memory of this object, indices copy; see :meth:`subset`.
        """
        if isinstance(index, int | np.integer):
            return self._inputs[int(index)], self._targets[int(index)]
        return self._taken(index) if isinstance(index, slice) else self.subset(index)

    def subset(self, indices: Sequence[int] | Tensor | npt.NDArray[np.integer]) -> LabeledTensors:
        """Return the examples at these positions, in this order; repeats are allowed.

        Args:
            indices: Positions in [0, N), or a boolean mask of shape (N,).

        Raises:
            TypeError: If ``indices`` are neither integers nor a mask.
            ValueError: If a position or the length of a mask does not fit.
        """
        return self._taken(checked_indices(indices, len(self), self.device))

    def _taken(self, rows: slice | Tensor) -> LabeledTensors:
        """Return some rows without checking again what has been checked."""
        taken = object.__new__(LabeledTensors)
        taken._inputs = self._inputs[rows]
        taken._targets = self._targets[rows]
        taken._classes = self._classes
        taken._weights = None if self._weights is None else self._weights[rows]
        taken._fingerprint = None
        return taken

    def split(
        self, lengths: Sequence[int] | Sequence[float], *, seed: int = 0
    ) -> tuple[LabeledTensors, ...]:
        r"""Split at random into parts that together hold every example exactly once.

        Where targets are class indices the split is stratified: of the :math:`n_c` examples of a
        class, a part of size :math:`s` gets :math:`n_c s / N`, rounded down or up. The examples
        keep their order within a part.

        Args:
            lengths: Size of each part, adding up to N; or fractions of N, adding up to 1.
            seed: Decides, with the targets alone, which example goes where.

        Raises:
            TypeError: If ``lengths`` are no sequence of numbers or ``seed`` is no integer.
            ValueError: If the sizes do not add up or ``seed`` is negative.

        Example:
            >>> import torch
            >>> from mlpkit.data import LabeledTensors
            >>> data = LabeledTensors(torch.rand(10, 2), torch.tensor([0] * 6 + [1] * 4))
            >>> [part.class_counts.tolist() for part in data.split([0.5, 0.5])]
            [[3, 2], [3, 2]]
        """
        sizes = split_sizes(lengths, len(self))
        state = derive(check_int("seed", seed, minimum=0), _SPLIT_STREAM)
        order = permutation(state, len(self), torch.device("cpu"))
        targets = self._targets.cpu()
        if targets.is_floating_point() or not len(self):
            parts = list(torch.split(order, sizes))
        else:
            # Classes that occur: a count for each index up to the highest may not fit in memory.
            occurring = np.unique(targets.numpy(), return_counts=True)[1].tolist()
            counts = stratified_counts(occurring, sizes)
            by_class = order[torch.argsort(targets[order], stable=True)]
            cells = torch.split(by_class, [count for row in counts for count in row])
            parts = [torch.cat(cells[part :: len(sizes)]) for part in range(len(sizes))]
        return tuple(self._taken(part.sort().values.to(self.device)) for part in parts)

    def to(self, device: torch.device | str) -> LabeledTensors:
        """Return the examples on another device; itself if they are there already."""
        wanted = torch.device(device)
        moved = object.__new__(LabeledTensors)
        moved._inputs = self._inputs.to(wanted)
        if moved._inputs is self._inputs:
            return self
        moved._targets = self._targets.to(wanted)
        moved._classes = self._classes
        moved._weights = None if self._weights is None else self._weights.to(wanted)
        moved._fingerprint = self._fingerprint
        return moved

    def as_torch_dataset(self) -> TensorDataset:
        """Return a torch data set of (input, target), or (input, target, weight) if weighted."""
        if self._weights is None:
            return TensorDataset(self._inputs, self._targets)
        return TensorDataset(self._inputs, self._targets, self._weights)

    def batches(
        self,
        batch_size: int,
        *,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        balanced: bool = False,
        augment: Augmentation | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> Batches:
        """Return the examples as :class:`Batches`; the arguments are explained there."""
        from mlpkit.data._batches import Batches

        return Batches(
            self,
            batch_size,
            shuffle=shuffle,
            seed=seed,
            drop_last=drop_last,
            balanced=balanced,
            augment=augment,
            rank=rank,
            world_size=world_size,
        )


_SPLIT_STREAM = 0x5911


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape[1:])}"


def _bytes(tensor: Tensor) -> memoryview:
    flat = tensor.detach().cpu().contiguous().view(-1)
    return flat.view(torch.uint8).numpy().data
