"""The target columns of a table: classes, labels or numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor

from mlpkit._checks import Unquoted, check_choice, error_message
from mlpkit.data.tables._columns import check_texts, places_of
from mlpkit.data.tables._frame import Floats, Frame, Values, as_table, number_text
from mlpkit.errors import DataError

__all__ = ["FloatName", "TableTarget", "TargetTask", "fits_float32"]

FloatName: TypeAlias = Literal["float32", "float64"]
TargetTask: TypeAlias = Literal["classification", "multilabel", "regression"]

_FEW: Final = 20  # different integers; more of them are numbers rather than classes
_MOST_CLASSES: Final = 2**16
_LARGEST_SPACING: Final = 1e-3  # of neighboring floats, in standard deviations


@dataclass(frozen=True, kw_only=True, slots=True)
class TableTarget:
    """What the target columns of a table mean.

    Attributes:
        names: Names of the columns.
        task: ``"classification"`` of one column, ``"multilabel"`` of columns with 0 or 1, or
            ``"regression"``.
        classes: Name of each class, in the order of the class indices; None unless the task is
            ``"classification"``.
        dtype: Dtype of the targets of a regression: ``"float32"``, or ``"float64"`` if float32
            would merge values of the rows on which it was fitted.

    Raises:
        TypeError: If a field has the wrong type.
        ValueError: If a field is out of range or does not fit the task.
    """

    names: tuple[str, ...]
    task: TargetTask
    classes: tuple[str, ...] | None = None
    dtype: FloatName = "float32"

    def __post_init__(self) -> None:
        task: TargetTask = check_choice("task", self.task, get_args(TargetTask))
        object.__setattr__(self, "task", task)
        dtype: FloatName = check_choice("dtype", self.dtype, get_args(FloatName))
        object.__setattr__(self, "dtype", dtype)
        if dtype == "float64" and task != "regression":
            raise ValueError(error_message("dtype", f"'float32' for a {task}", dtype))
        names = check_texts("target", self.names, what="the names of columns")
        object.__setattr__(self, "names", names)
        if task == "classification" and len(names) > 1:
            cure = "use several columns of 0 and 1 for labels"
            raise ValueError(error_message("target", "one column for classes", list(names), cure))
        if (self.classes is None) == (task == "classification"):
            rule = "given for a classification, and only then"
            raise ValueError(error_message("classes", rule, self.classes))
        if self.classes is not None:
            classes = check_texts("classes", self.classes, what="names of classes")
            object.__setattr__(self, "classes", classes)

    @classmethod
    def fit(
        cls,
        frame: Frame,
        names: Sequence[str],
        *,
        task: TargetTask | None = None,
        classes: Sequence[str] | None = None,
    ) -> TableTarget:
        """Return the meaning of the target columns of training rows.

        Args:
            frame: The rows.
            names: Names of the columns.
            task: What they are; None finds it from the values.
            classes: Name of each class; None takes the sorted values.

        Raises:
            ValueError: If a column does not exist, or ``task`` or ``classes`` does not fit.
            DataError: If a value is missing, or there is only one value.
        """
        table = as_table(frame)
        checked = check_texts("target", names, what="the names of columns")
        columns = [_complete(table.read(table.check_column("target", name))) for name in checked]
        if task is not None:
            task = check_choice("task", task, get_args(TargetTask))
        found = _found_task(columns) if task is None else task
        if classes is not None and found != "classification":
            cure = "leave it out, or pass task='classification'"
            raise ValueError(
                error_message("classes", f"left out for a {found}", list(classes), cure)
            )
        if found != "classification":
            target = cls(names=checked, task=found)
            for values in columns:
                _check_varies(values)
                target._numbers(values)
            if found == "regression" and not all(fits_float32(each.numbers) for each in columns):
                target = cls(names=checked, task=found, dtype="float64")
            return target
        if len(columns) > 1:
            return cls(names=checked, task=found, classes=("", ""))  # raises
        if classes is None:
            _check_varies(columns[0])
        names_of_classes = _class_names(columns[0]) if classes is None else tuple(classes)
        target = cls(names=checked, task=found, classes=names_of_classes)
        target.encode(table)  # each value is one of the classes
        return target

    @property
    def tensor_names(self) -> tuple[str, ...] | None:
        """The ``classes`` of :class:`LabeledTensors`: of classes, labels or several targets."""
        if self.task == "classification":
            return self.classes
        return self.names if self.task == "multilabel" or len(self.names) > 1 else None

    def encode(self, frame: Frame) -> Tensor:
        """Return the targets of a frame.

        Class indices are int64 of shape (N,). Labels are float32 of shape (N, L). A regression has
        shape (N,) for one column and (N, D) for several, of ``self.dtype``.

        A class is found by its text, else by its value: ``1``, ``1.0``, ``True`` and ``"true"`` are
        the class ``"1"`` or the class ``"True"``.

        Raises:
            DataError: If a column does not exist, or a value is missing or does not fit the task.
        """
        table = as_table(frame)
        missing = [name for name in self.names if name not in table.columns]
        if missing:  # no argument of the caller: the names are those of the training rows
            rule = f"a table with the target of the training rows, {', '.join(self.names[:20])}"
            found = Unquoted(f"one without {', '.join(missing[:10])}")
            raise DataError(error_message("frame", rule, found))
        columns = [_complete(table.read(name)) for name in self.names]
        if self.task == "classification":
            return self._class_indices(columns[0])
        numbers = np.stack([self._numbers(values) for values in columns], axis=1)
        if self.task == "regression" and len(columns) == 1:
            numbers = numbers[:, 0]
        largest = float(np.abs(numbers).max())
        if self.dtype == "float32" and largest > float(np.finfo(np.float32).max):
            column = next(each for each in columns if np.abs(each.numbers).max() == largest)
            rule = "of numbers within the range of float32, as in the training rows"
            raise DataError(error_message(_column(column), rule, largest))
        return torch.from_numpy(numbers.astype(self.dtype))

    def _class_indices(self, values: Values) -> Tensor:
        """Return the index of each class."""
        assert self.classes is not None, "the classes of a classification are known"
        places = places_of(_column(values), self.classes, values, convert_text=True)
        if bool((places < 0).any()):
            row = int((places < 0).argmax())
            listed = ", ".join(self.classes[:20]) + (", ..." if len(self.classes) > 20 else "")
            rule = f"one of the classes ({listed})"
            cure = f"see row {row}, counted from 0"
            raise DataError(error_message(_column(values), rule, values.as_texts()[row], cure))
        return torch.from_numpy(places)

    def _numbers(self, values: Values) -> Floats:
        """Return labels or targets of a regression as numbers."""
        if self.task == "regression":
            if values.kind == "text":
                cure = "pass task='classification' for classes"
                raise DataError(
                    error_message(
                        _column(values), "numbers for a regression", values.texts[0], cure
                    )
                )
            return values.numbers
        places = places_of(_column(values), ("0", "1"), values, convert_text=True)
        if bool((places < 0).any()):
            row = int((places < 0).argmax())
            wrong, cure = values.as_texts()[row], f"see row {row}, counted from 0"
            raise DataError(error_message(_column(values), "0 or 1 for a label", wrong, cure))
        return places.astype(np.float64)


def fits_float32(numbers: Floats) -> bool:
    """Return whether float32 distinguishes numbers: its spacing is small beside their spread."""
    present = numbers[~np.isnan(numbers)]
    if not len(present):
        return True
    largest = float(np.abs(present).max())
    if largest > float(np.finfo(np.float32).max):
        return False
    return bool(np.spacing(np.float32(largest)) <= _LARGEST_SPACING * present.std()) or bool(
        (present == present[0]).all()
    )


def _column(values: Values) -> str:
    """Return the subject of an error message about a target column."""
    return f"target column {values.name!r}"


def _complete(values: Values) -> Values:
    """Return values none of which is missing."""
    missing = values.missing
    if missing.any():
        count, row = int(missing.sum()), int(missing.argmax())
        found = Unquoted(f"{count} missing of {len(values)}, the first in row {row} from 0")
        cure = "remove the rows without a target"
        raise DataError(error_message(_column(values), "given in each row", found, cure))
    if not len(values):
        raise DataError(error_message(_column(values), "given in some row", Unquoted("no rows")))
    return values


def _check_varies(values: Values) -> None:
    """Refuse a target that is the same in all rows."""
    texts = set(values.as_texts()) if values.kind == "text" else set(values.numbers.tolist())
    if len(texts) == 1:
        found = Unquoted(f"{values.as_texts()[0]!r} in each of {len(values)} rows")
        cure = "there is nothing to predict; use another column or more rows"
        raise DataError(error_message(_column(values), "of at least two values", found, cure))


def _is_binary(values: Values) -> bool:
    """Return whether all values are booleans, or 0 and 1."""
    return values.kind != "text" and bool(np.isin(values.numbers, (0.0, 1.0)).all())


def _found_task(columns: Sequence[Values]) -> TargetTask:
    """Return the task that the values of the target columns suggest."""
    if len(columns) == 1:
        (values,) = columns
        if values.kind in ("text", "boolean"):
            return "classification"
        if values.kind == "number":
            return "regression"
        distinct = len(np.unique(values.numbers))
        is_few = distinct <= 2 or (distinct <= _FEW and 2 * distinct <= len(values))
        return "classification" if is_few else "regression"
    if all(_is_binary(values) for values in columns):
        return "multilabel"
    for values in columns:
        if values.kind == "text":
            cure = "use one column of text for classes, and 0 and 1 for labels"
            rule = "numbers, as one of several target columns"
            raise DataError(error_message(_column(values), rule, values.texts[0], cure))
    return "regression"


def _class_names(values: Values) -> tuple[str, ...]:
    """Return the different values as text, in order; numbers are in the order of numbers."""
    if values.kind == "text":
        names = sorted({text for text in values.texts if text is not None})
    else:
        is_boolean = values.kind == "boolean"
        numbers = np.unique(values.numbers).tolist()
        for number in numbers:
            if not math.isfinite(number) or not float(number).is_integer():
                cure = "pass task='regression' for numbers"
                rule = "text or integers for classes"
                raise DataError(error_message(_column(values), rule, number, cure))
        names = [number_text(number, is_boolean) for number in numbers]
    is_identifier = 2 * len(names) > len(values) and len(names) > _FEW
    if is_identifier or len(names) > _MOST_CLASSES:
        found = Unquoted(f"{len(names)} different values in {len(values)} rows")
        cure = "use a column whose values repeat"
        if values.kind != "text":
            cure = "pass task='regression' for numbers"
        raise DataError(error_message(_column(values), "classes that repeat", found, cure))
    return tuple(names)
