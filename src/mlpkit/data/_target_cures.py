"""How to convert labels of unusual kinds to class indices, for error messages."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor

__all__ = ["Origin", "conversion_cure", "index_cure"]

Origin: TypeAlias = Literal["tensor", "array", "dataset"]

_Step: TypeAlias = Literal["stored", "column", "one_hot", "integers", "from_one", "signs"]

# One step of a conversion, of a user of LabeledTensors, of from_numpy or of from_dataset.
_STEPS: Final[dict[Origin, dict[_Step, str]]] = {
    "tensor": {
        "stored": "{}.long()",
        "column": "{}.squeeze(1)",
        "one_hot": "{}.argmax(1)",
        "integers": "{}.long()",
        "from_one": "{} - 1",
        "signs": "({} + 1) // 2",
    },
    "array": {
        "stored": "{}",
        "column": "np.ravel({})",
        "one_hot": "np.argmax({}, 1)",
        "integers": "np.asarray({}).astype(int)",
        "from_one": "np.asarray({}) - 1",
        "signs": "(np.asarray({}) + 1) // 2",
    },
    "dataset": {
        "stored": "{}.long()",
        "column": "{}",
        "one_hot": "int({}.argmax())",
        "integers": "int({})",
        "from_one": "{} - 1",
        "signs": "({} + 1) // 2",
    },
}
_REASONS: Final[dict[_Step, str]] = {
    "stored": "for class indices",
    "column": "for class indices",
    "one_hot": "for the class indices of one-hot rows",
    "integers": "for class indices",
    "from_one": "for class indices that start at 1",
    "signs": "for the classes -1 and +1",
}
# torch has neither argmax nor arithmetic for these
_STORED_ONLY: Final = (torch.bool, torch.uint16, torch.uint32, torch.uint64)


def _cure(steps: list[_Step], origin: Origin) -> str:
    """Return the advice to take some steps, one after the other."""
    expression = "target" if origin == "dataset" else "targets"
    for step in steps:
        template = _STEPS[origin][step]
        if expression != "targets":  # it is an array already
            template = template.replace("np.asarray({})", "{}")
        expression = template.format(expression)
    reason = _REASONS[steps[-1]]
    if origin == "dataset":
        return f"return {expression} as the target of each example {reason}"
    return f"pass {expression} {reason}"


def conversion_cure(targets: Tensor, origin: Origin, *, num_classes: int | None) -> str | None:
    """Return how to convert targets whose dtype or shape is not that of class indices.

    Args:
        targets: The targets: integers of any shape, bool, or floating-point with class names.
        origin: Where they come from, which determines the expression.
        num_classes: Number of class names; None without names.
    """
    is_index = not targets.is_floating_point() or bool((targets == targets.round()).all())
    if targets.ndim == 2 and targets.shape[1] > 1 and _is_one_hot(targets):
        first: list[_Step] = ["stored"] if targets.dtype in _STORED_ONLY else []
        return _cure([*first, "one_hot"], origin)
    is_column = targets.ndim == 2 and targets.shape[1] == 1
    if is_index and (is_column or targets.ndim == 1):
        steps: list[_Step] = ["column"] if is_column else []
        needs_integers = targets.is_floating_point() or targets.dtype in _STORED_ONLY
        if needs_integers or origin == "dataset":
            steps.append("integers")
        indices = targets.flatten().to(torch.int64)
        if len(indices):
            lowest, highest = (int(bound) for bound in torch.aminmax(indices))
            steps += _shift(indices, lowest, highest, num_classes)
        return _cure(steps, origin)
    if targets.is_floating_point() and num_classes is not None:
        return "omit classes for a regression"
    if targets.ndim > 1:
        return "pass targets of a floating-point dtype for distributions or several labels"
    return None


def index_cure(
    targets: Tensor,
    indices: Tensor,
    lowest: int,
    highest: int,
    origin: Origin,
    *,
    num_classes: int | None,
) -> str:
    """Return how to convert integers, ``(N,)``, that are not class indices.

    Args:
        targets: The targets as they were given.
        indices: The targets as int64.
        lowest: The lowest of them.
        highest: The highest of them.
        origin: Where they come from, which determines the expression.
        num_classes: Number of class names; None without names.
    """
    steps = _shift(indices, lowest, highest, num_classes)
    if steps:
        needs_integers = origin == "dataset" or targets.dtype in _STORED_ONLY
        return _cure(["integers", *steps] if needs_integers else steps, origin)
    wrong = lowest if lowest < 0 else highest
    where = f"see example {int((indices == wrong).nonzero()[0])}"
    if lowest < 0:
        return f"{where}, and leave out examples without a label"
    return f"{where}, and pass a name for each class"


def _shift(targets: Tensor, lowest: int, highest: int, num_classes: int | None) -> list[_Step]:
    """Return the step from -1 and +1, or from indices that start at 1, to class indices."""
    if lowest == -1 and highest <= 1 and not bool((targets == 0).any()):
        return ["signs"]
    if lowest == 1 and highest == num_classes:
        return ["from_one"]
    return []


def _is_one_hot(targets: Tensor) -> bool:
    """Return whether each row has one 1 and otherwise zeros."""
    values = targets.to(torch.float64)
    binary = ((values == 0) | (values == 1)).all()
    return len(targets) > 0 and bool(binary and (values.sum(1) == 1).all())
