"""How to convert labels of unusual kinds to class indices, for error messages."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor

__all__ = ["Origin", "conversion_cure", "index_cure"]

Origin: TypeAlias = Literal["tensor", "array", "dataset"]

_Kind: TypeAlias = Literal["integers", "column", "one_hot", "from_one", "signs"]

# Expressions that a user of LabeledTensors, of from_numpy or of from_dataset can execute.
_EXPRESSIONS: Final[dict[Origin, dict[_Kind, str]]] = {
    "tensor": {
        "integers": "targets.long()",
        "column": "targets.squeeze(1)",
        "one_hot": "targets.argmax(1)",
        "from_one": "targets - 1",
        "signs": "(targets + 1) // 2",
    },
    "array": {
        "integers": "np.asarray(targets).astype(int)",
        "column": "np.ravel(targets)",
        "one_hot": "np.argmax(targets, 1)",
        "from_one": "np.asarray(targets) - 1",
        "signs": "(np.asarray(targets) + 1) // 2",
    },
    "dataset": {
        "integers": "int(target)",
        "column": "int(target)",
        "one_hot": "int(target.argmax())",
        "from_one": "int(target) - 1",
        "signs": "(int(target) + 1) // 2",
    },
}
_REASONS: Final[dict[_Kind, str]] = {
    "integers": "for class indices",
    "column": "for class indices",
    "one_hot": "for the class indices of one-hot rows",
    "from_one": "for class indices that start at 1",
    "signs": "for the classes -1 and +1",
}


def _cure(kind: _Kind, origin: Origin, dtype: torch.dtype = torch.int64) -> str:
    expression = _EXPRESSIONS[origin][kind]
    if dtype is torch.bool and origin != "array":  # torch has no argmax of bool
        expression = expression.replace(".argmax", ".long().argmax")
    if origin == "dataset":
        return f"return {expression} as the target of each example {_REASONS[kind]}"
    return f"pass {expression} {_REASONS[kind]}"


def conversion_cure(targets: Tensor, origin: Origin, *, num_classes: int | None) -> str | None:
    """Return how to convert targets whose dtype or shape is not that of class indices.

    Args:
        targets: The targets: integers of any shape, bool, or floating-point with class names.
        origin: Where they come from, which determines the expression.
        num_classes: Number of class names; None without names.
    """
    if targets.ndim == 2 and targets.shape[1] == 1:
        return _cure("column", origin)
    if targets.ndim == 2 and _is_one_hot(targets):
        return _cure("one_hot", origin, targets.dtype)
    is_index = not targets.is_floating_point() or bool((targets == targets.round()).all())
    if targets.ndim == 1 and is_index:
        return _cure("integers", origin)
    if targets.is_floating_point() and num_classes is not None:
        return "omit classes for a regression"
    if targets.ndim > 1:
        return "pass targets of a floating-point dtype for distributions or several labels"
    return None


def index_cure(
    targets: Tensor, lowest: int, highest: int, origin: Origin, *, num_classes: int | None
) -> str:
    """Return how to convert integers, ``(N,)``, that are not class indices."""
    if lowest == -1 and highest <= 1 and not bool((targets == 0).any()):
        return _cure("signs", origin)
    if lowest == 1 and highest == num_classes:
        return _cure("from_one", origin)
    wrong = lowest if lowest < 0 else highest
    where = f"see example {int((targets == wrong).nonzero()[0])}"
    if lowest < 0:
        return f"{where}, and leave out examples without a label"
    return f"{where}, and pass a name for each class"


def _is_one_hot(targets: Tensor) -> bool:
    """Return whether each row has one 1 and otherwise zeros."""
    values = targets.to(torch.float64)
    binary = ((values == 0) | (values == 1)).all()
    return len(targets) > 0 and bool(binary and (values.sum(1) == 1).all())
