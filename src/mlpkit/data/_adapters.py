"""From other people's containers to tensors: torch data sets and NumPy arrays."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from mlpkit._checks import error_message
from mlpkit.data.images import check_convertible, is_picture, picture_to_tensor
from mlpkit.errors import DataError


def stack_dataset(
    dataset: Dataset[object], *, named: bool
) -> tuple[Tensor, Tensor, tuple[str, ...] | None]:
    """Return the inputs, the targets and, if wanted, the class names of a torch data set."""
    streamed = isinstance(dataset, IterableDataset)  # its length, if any, is but an estimate
    count = len(dataset) if isinstance(dataset, Sized) and not streamed else None
    inputs = _Stack("input", count)
    targets = _Stack("target", count)
    for position, example in enumerate(_examples(dataset, count)):
        if not isinstance(example, tuple | list) or len(example) != 2:
            rule = "a pair of input and target"
            raise DataError(error_message(f"example {position}", rule, type(example)))
        inputs.add(_as_tensor(f"the input of example {position}", example[0]))
        targets.add(_as_tensor(f"the target of example {position}", example[1]))
    stacked = targets.stacked()
    wanted = named and not stacked.is_floating_point()
    return inputs.stacked(), stacked, _names(dataset) if wanted else None


def _names(dataset: Dataset[object]) -> tuple[str, ...] | None:
    names = getattr(dataset, "classes", None)
    if isinstance(names, str):
        cure = "pass classes to from_dataset"
        raise DataError(error_message("dataset.classes", "a sequence of strings", names, cure))
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        return None
    return tuple(names)


def _examples(dataset: Dataset[object], count: int | None) -> Iterator[object]:
    """Read by position where the length is known: not every data set stops by IndexError."""
    if count is None:
        return iter(cast("Iterable[object]", dataset))
    return (dataset[position] for position in range(count))


class _Stack:
    """Rows of one shape and type, copied one by one into a tensor made for all of them."""

    def __init__(self, name: str, count: int | None) -> None:
        self._name = name
        self._count = count
        self._rows: list[Tensor] = []
        self._whole: Tensor | None = None
        self._added = 0

    def add(self, row: Tensor) -> None:
        first = row if self._added == 0 else self._rows[0]
        if row.shape != first.shape or row.dtype != first.dtype:
            rule = f"{first.dtype} of shape {tuple(first.shape)}, as the first is"
            found = f"{row.dtype} of shape {tuple(row.shape)}"
            where = f"the {self._name} of example {self._added}"
            raise DataError(error_message(where, rule, found, "resize or convert them to one kind"))
        if self._count is None or self._added == 0:
            self._rows.append(row.clone())  # the data set may fill one buffer again and again
        if self._count is not None:
            if self._whole is None:
                self._whole = row.new_empty((self._count, *row.shape))
            self._whole[self._added] = row
        self._added += 1

    def stacked(self) -> Tensor:
        if self._whole is not None:
            return self._whole
        if not self._rows:
            raise DataError(error_message("dataset", "one example or more", "none"))
        return torch.stack(self._rows)


def _as_tensor(where: str, value: object) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach().as_subclass(Tensor)  # torchvision's images are a subclass
    if isinstance(value, np.ndarray | np.generic):
        return tensor_from_array(where, value)
    if isinstance(value, bool):
        return torch.tensor(value)
    if isinstance(value, numbers.Integral):
        return torch.tensor(int(value))
    if isinstance(value, numbers.Real):
        return torch.tensor(float(value))
    if is_picture(value):
        if value.mode != "RGBA":  # which keeps its alpha channel
            check_convertible(value, where)
        return picture_to_tensor(value)
    rule = "a tensor, an array, a number or a Pillow image"
    raise DataError(error_message(where, rule, type(value), "add a transform that gives one"))


def tensor_from_array(argument: str, values: npt.ArrayLike) -> Tensor:
    """Return a tensor with a copy of an array, in the byte order of this machine."""
    array = np.asarray(values)
    if array.dtype.kind not in "biufc":
        cure = "convert it to a numeric array first"
        raise TypeError(error_message(argument, "an array of numbers", array.dtype, cure))
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


def indexed_targets(
    targets: npt.ArrayLike, classes: tuple[str, ...] | None
) -> tuple[tuple[str, ...] | None, Tensor]:
    """Return class names and targets, with targets that are names turned into indices."""
    array = np.asarray(targets)
    if array.dtype.kind == "O" and all(isinstance(name, str) for name in array.flat):
        array = array.astype(np.str_)
    if array.dtype.kind != "U":
        return classes, tensor_from_array("targets", array)
    found, inverse = np.unique(array, return_inverse=True)
    names = tuple(str(name) for name in found) if classes is None else classes
    for name in found:
        if name not in names:
            rule = f"one of the classes ({', '.join(names)})"
            raise ValueError(error_message("targets", rule, str(name)))
    position = np.array([names.index(name) for name in found], dtype=np.int64)
    return names, torch.from_numpy(position[inverse])
