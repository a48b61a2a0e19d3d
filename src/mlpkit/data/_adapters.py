"""Conversion of torch data sets and NumPy arrays to tensors."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from mlpkit._checks import Unquoted, error_message
from mlpkit.data.images import check_convertible, is_pil_image, pil_to_tensor
from mlpkit.errors import DataError


def stack_dataset(
    dataset: Dataset[object], *, named: bool
) -> tuple[Tensor, Tensor, tuple[str, ...] | None]:
    """Return the inputs, the targets and the class names of a torch data set.

    The class names are None unless ``named`` is True, the data set has ``classes``, and the targets
    are class indices.
    """
    is_iterable = isinstance(dataset, IterableDataset)  # its length, if any, is an estimate
    count = len(dataset) if isinstance(dataset, Sized) and not is_iterable else None
    inputs = _Stack("input", count)
    targets = _Stack("target", count)
    for index, example in enumerate(_examples(dataset, count)):
        if not isinstance(example, tuple | list) or len(example) != 2:
            rule = "a pair of input and target"
            raise DataError(error_message(f"example {index}", rule, type(example)))
        inputs.append(_as_tensor(f"the input of example {index}", example[0]))
        targets.append(_as_tensor(f"the target of example {index}", example[1]))
    stacked = targets.stack()
    needs_names = named and not stacked.is_floating_point()
    return inputs.stack(), stacked, _class_names(dataset) if needs_names else None


def _class_names(dataset: Dataset[object]) -> tuple[str, ...] | None:
    """Return ``dataset.classes`` as a tuple, or None if they are not a sequence of strings."""
    names = getattr(dataset, "classes", None)
    if isinstance(names, str):
        cure = "pass classes to from_dataset"
        raise DataError(error_message("dataset.classes", "a sequence of strings", names, cure))
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        return None
    return tuple(names)


def _examples(dataset: Dataset[object], count: int | None) -> Iterator[object]:
    """Iterate by index if the length is known: not every data set raises IndexError at its end."""
    if count is None:
        return iter(cast("Iterable[object]", dataset))
    return (dataset[index] for index in range(count))


class _Stack:
    """Rows of one shape and dtype, copied into one tensor that is allocated once.

    If ``count`` is None, the rows are collected in a list and stacked at the end.
    """

    def __init__(self, name: str, count: int | None) -> None:
        self._name = name
        self._count = count
        self._rows: list[Tensor] = []
        self._stacked: Tensor | None = None
        self._size = 0

    def append(self, row: Tensor) -> None:
        first = row if self._size == 0 else self._rows[0]
        if row.shape != first.shape or row.dtype != first.dtype:
            rule = f"{first.dtype} of shape {tuple(first.shape)}, as in the first example"
            found = f"{row.dtype} of shape {tuple(row.shape)}"
            name = f"the {self._name} of example {self._size}"
            cure = "resize or convert the examples to one shape and dtype"
            raise DataError(error_message(name, rule, Unquoted(found), cure))
        if self._count is None or self._size == 0:
            self._rows.append(row.clone())  # the data set may reuse one buffer for all examples
        if self._count is not None:
            if self._stacked is None:
                self._stacked = row.new_empty((self._count, *row.shape))
            self._stacked[self._size] = row
        self._size += 1

    def stack(self) -> Tensor:
        if self._stacked is not None:
            return self._stacked
        if not self._rows:
            raise DataError(
                error_message("dataset", "a data set with examples", Unquoted("an empty one"))
            )
        return torch.stack(self._rows)


def _as_tensor(name: str, value: object) -> Tensor:
    """Return an input or target as a tensor; ``name`` is its name in error messages."""
    if isinstance(value, Tensor):
        return value.detach().as_subclass(Tensor)  # torchvision's images are a subclass of Tensor
    if isinstance(value, np.ndarray | np.generic):
        return tensor_from_array(name, value)
    if isinstance(value, bool):
        return torch.tensor(value)
    if isinstance(value, numbers.Integral):
        return torch.tensor(int(value))
    if isinstance(value, numbers.Real):
        return torch.tensor(float(value))
    if is_pil_image(value):
        if value.mode != "RGBA":  # RGBA keeps its alpha channel
            check_convertible(value, name)
        return pil_to_tensor(value)
    rule = "a tensor, an array, a number or a Pillow image"
    raise DataError(error_message(name, rule, type(value), "add a transform that returns one"))


def tensor_from_array(argument: str, values: npt.ArrayLike) -> Tensor:
    """Return a contiguous copy of an array as a tensor, in native byte order."""
    array = as_array(argument, values)
    if array.dtype.kind not in "biufc" or array.dtype.char in "gG":  # torch has no long double
        cure = "convert it to a numeric array first, such as one of float64"
        raise TypeError(error_message(argument, "an array of numbers", array.dtype, cure))
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


def as_array(argument: str, values: npt.ArrayLike) -> npt.NDArray[np.generic]:
    """Return values as an array.

    Raises:
        TypeError: If NumPy cannot convert them because of their type.
        ValueError: If NumPy cannot convert them, or some are masked, whose numbers mean nothing.
    """
    if np.ma.is_masked(values):
        cure = "replace its masked values with its filled method, or leave out their examples"
        rule, found = "an array without a mask", Unquoted("a masked array")
        raise ValueError(error_message(argument, rule, found, cure))
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:  # lists of other lengths, for instance
        found = Unquoted(f"an error: {error}")
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(error_message(argument, "convertible to one array", found)) from error


def weights_from_array(weights: npt.ArrayLike | None) -> Tensor | None:
    """Return weights as a tensor, integers as float64; None stays None."""
    if weights is None:
        return None
    tensor = tensor_from_array("weights", weights)
    is_real = tensor.is_floating_point() or tensor.is_complex()  # the second is refused later
    return tensor if is_real else tensor.double()


def encode_targets(
    targets: npt.ArrayLike, classes: tuple[str, ...] | None
) -> tuple[tuple[str, ...] | None, Tensor]:
    """Return the class names and the targets; targets that are names become class indices."""
    array = as_array("targets", targets)
    if array.dtype.kind == "U" and not isinstance(targets, np.ndarray):
        array = np.asarray(targets, dtype=object)  # NumPy writes NaN among strings as "nan"
    if array.dtype.kind in "OT" and all(isinstance(name, str) for name in array.flat):
        array = np.array(array.tolist(), dtype=np.str_)
    if array.dtype.kind not in "biufcU":
        raise TypeError(_no_targets(array))
    if array.dtype.kind != "U":
        return classes, tensor_from_array("targets", array)
    if array.ndim != 1:
        cure = "pass np.ravel(targets)" if array.ndim > 1 and array.size == len(array) else None
        rule = "of shape (N,) if they are names"
        raise ValueError(error_message("targets", rule, array.shape, cure))
    found, inverse = np.unique(array, return_inverse=True)
    names = tuple(str(name) for name in found) if classes is None else classes
    for name in found:
        if name not in names:
            rule = f"one of the classes ({', '.join(names)})"
            raise ValueError(error_message("targets", rule, str(name)))
    indices = np.array([names.index(name) for name in found], dtype=np.int64)
    return names, torch.from_numpy(indices[inverse])


def _no_targets(array: npt.NDArray[np.generic]) -> str:
    """Return the error message for targets that are neither numbers nor strings."""
    rule = "an array of numbers or of names"
    items: list[object] = list(array.flat)
    found: object = array.dtype
    missing = [index for index, item in enumerate(items) if _is_missing(item)]
    cure = "convert it to numbers or strings"
    if array.dtype.kind == "S" or all(isinstance(item, bytes) for item in items):
        flat = "np.ravel(targets)" if array.ndim > 1 and array.size == len(array) else "targets"
        cure = f"pass np.char.decode(np.asarray({flat}, dtype=bytes)) for names as bytes"
    elif all(isinstance(item, numbers.Integral | np.bool_) for item in items):
        cure = "pass np.asarray(targets).astype(int)"
    elif missing:
        found = Unquoted(f"{items[missing[0]]!r} as target {missing[0]}")
        cure = "leave out examples without a label"
    elif all(isinstance(item, numbers.Real) for item in items):
        cure = "pass np.asarray(targets).astype(float)"
    else:
        cure = "pass list(map(str, targets)) for names"
    return error_message("targets", rule, found, cure)


def _is_missing(item: object) -> bool:
    """Return whether a target is None, NaN or the missing value of pandas."""
    try:
        return item is None or bool(item != item)
    except TypeError:  # pandas.NA has no truth value
        return True
