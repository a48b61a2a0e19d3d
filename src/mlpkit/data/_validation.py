"""Checks of the tensors and class names of a data set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mlpkit._checks import Unquoted, error_message
from mlpkit.data._adapters import tensor_from_array
from mlpkit.data._target_cures import Origin, conversion_cure, index_cure

_COMPUTED = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_VALUES_AT_ONCE = 2**20


def check_inputs(inputs: object, *, values: bool = True) -> Tensor:
    """Return the inputs if they are a tensor of shape (N, ...) with finite values.

    Without ``values`` they are not read.
    """
    if not isinstance(inputs, Tensor):
        cure = "use LabeledTensors.from_numpy for arrays"
        raise TypeError(error_message("inputs", "a tensor", type(inputs), cure))
    _check_dense("inputs", inputs)
    if inputs.ndim == 0:
        raise ValueError(error_message("inputs", "a tensor of shape (N, ...)", inputs))
    if values:
        check_finite("inputs", inputs)
    return inputs.detach() if inputs.requires_grad else inputs


def check_class_names(classes: object) -> tuple[str, ...] | None:
    """Return the class names as a tuple if they are distinct strings; None stays None."""
    if classes is None:
        return None
    rule = "a sequence of strings"
    if isinstance(classes, str):
        raise TypeError(error_message("classes", rule, classes, "list(classes) splits it"))
    if not isinstance(classes, Sequence) or not all(isinstance(name, str) for name in classes):
        cure = "list(map(str, classes)) makes one" if isinstance(classes, Iterable) else None
        raise TypeError(error_message("classes", rule, classes, cure))
    names = tuple(map(str, classes))  # NumPy's strings become Python's
    if not names or len(set(names)) < len(names):
        raise ValueError(error_message("classes", "one or more distinct names", names))
    return names


def check_targets(
    targets: object,
    inputs: Tensor,
    classes: tuple[str, ...] | None,
    *,
    origin: Origin = "tensor",
) -> Tensor:
    """Return class indices as int64, or floating-point targets unchanged."""
    rule = "a tensor of class indices or of floating-point targets"
    num_classes = None if classes is None else len(classes)
    if not isinstance(targets, Tensor):
        cure = "use LabeledTensors.from_numpy for lists and arrays"
        raise TypeError(error_message("targets", rule, type(targets), cure))
    _check_dense("targets", targets)
    if targets.dtype is torch.bool or targets.is_complex():
        is_bool = targets.dtype is torch.bool
        remedy = conversion_cure(targets, origin, num_classes=num_classes) if is_bool else None
        raise TypeError(error_message("targets", rule, targets.dtype, remedy))
    _check_matches_inputs("targets", targets, inputs)
    if not targets.is_floating_point():
        return _check_class_indices(targets, num_classes, origin)
    check_finite("targets", targets)
    if classes is not None and targets.shape[1:] != (len(classes),):
        rule = f"of shape (N, {len(classes)}) for {len(classes)} classes"
        remedy = conversion_cure(targets, origin, num_classes=num_classes)
        raise ValueError(error_message("targets", rule, tuple(targets.shape), remedy))
    return targets.detach() if targets.requires_grad else targets


def _check_class_indices(targets: Tensor, num_classes: int | None, origin: Origin) -> Tensor:
    """Return class indices as int64, shape (N,), after a check of their range."""
    if targets.ndim != 1:
        rule = "of shape (N,) if they are class indices"
        cure = conversion_cure(targets, origin, num_classes=num_classes)
        raise ValueError(error_message("targets", rule, tuple(targets.shape), cure))
    indices = targets.to(torch.int64)
    if not len(indices):
        return indices
    lowest, highest = (int(bound) for bound in torch.aminmax(indices))
    if lowest < 0 or (num_classes is not None and highest >= num_classes):
        bounds = "of at least 0" if num_classes is None else f"in [0, {num_classes})"
        wrong = _as_given(targets, lowest if lowest < 0 else highest)
        cure = index_cure(targets, indices, lowest, highest, origin, num_classes=num_classes)
        raise ValueError(error_message("targets", f"class indices {bounds}", wrong, cure))
    return indices


def check_weights(weights: object, inputs: Tensor) -> Tensor:
    """Return the weights if they are finite, non-negative and one for each example."""
    if not isinstance(weights, Tensor) or not weights.is_floating_point():
        found = weights.dtype if isinstance(weights, Tensor) else type(weights)
        cure = "convert it with weights.float()" if isinstance(weights, Tensor) else None
        raise TypeError(error_message("weights", "a floating-point tensor", found, cure))
    _check_dense("weights", weights)
    _check_matches_inputs("weights", weights, inputs)
    if weights.ndim != 1:
        raise ValueError(error_message("weights", "of shape (N,)", tuple(weights.shape)))
    check_finite("weights", weights)
    if len(weights) and weights.min() < 0:
        row = int(weights.argmin())
        cure = f"see example {row}"
        raise ValueError(error_message("weights", "at least 0", float(weights[row]), cure))
    return weights.detach() if weights.requires_grad else weights


def check_indices(
    indices: Sequence[int] | Tensor | npt.NDArray[np.integer], count: int, device: torch.device
) -> Tensor:
    """Return indices, or the indices that a boolean mask selects, as int64 on ``device``."""
    if isinstance(indices, np.ndarray):
        indices = tensor_from_array("indices", indices)
    try:
        rows = torch.as_tensor(indices, device=device)
    except (TypeError, ValueError, RuntimeError) as error:
        rule = "integers or a boolean mask"
        raise TypeError(error_message("indices", rule, indices)) from error
    if rows.dtype is torch.bool:
        if rows.shape != (count,):
            rule = f"a mask of shape ({count},)"
            raise ValueError(error_message("indices", rule, tuple(rows.shape)))
        return rows.nonzero().squeeze(1)
    if rows.ndim != 1:
        raise ValueError(error_message("indices", "one-dimensional", tuple(rows.shape)))
    if not len(rows):
        return rows.to(torch.int64)
    if rows.is_floating_point() or rows.is_complex():
        raise TypeError(error_message("indices", "integers or a boolean mask", rows.dtype))
    positions = rows.to(torch.int64)  # aminmax does not support uint16, uint32 and uint64
    lowest, highest = (int(bound) for bound in torch.aminmax(positions))
    if lowest < 0 or highest >= count:
        wrong = _as_given(rows, lowest if lowest < 0 else highest)
        raise ValueError(error_message("indices", f"integers in [0, {count})", wrong))
    return positions


def _as_given(values: Tensor, converted: int) -> int:
    """Return an integer as it was before the conversion to int64, which wraps uint64 around."""
    return converted % 2**64 if values.dtype is torch.uint64 else converted


def _check_dense(argument: str, values: Tensor) -> None:
    """Check that a tensor has one value for each index; a nested tensor has rows of other sizes."""
    if values.is_nested:
        cure = f"pad it with torch.nested.to_padded_tensor({argument}, 0.0)"
        raise TypeError(error_message(argument, "a dense tensor", Unquoted("a nested one"), cure))
    if values.is_quantized:
        cure = f"convert it with {argument}.dequantize()"
        raise TypeError(error_message(argument, "a tensor of numbers", values.dtype, cure))
    if values.is_meta:
        rule = "on a device that holds values"
        raise ValueError(error_message(argument, rule, str(values.device)))
    if values.layout is not torch.strided:
        cure = f"convert it with {argument}.to_dense()"
        raise TypeError(error_message(argument, "a dense tensor", values.layout, cure))


def _check_matches_inputs(argument: str, values: Tensor, inputs: Tensor) -> None:
    """Check that there is one value per example, on the device of the inputs."""
    if values.ndim == 0 or len(values) != len(inputs):
        rule = f"one value for each of the {len(inputs)} examples"
        raise ValueError(error_message(argument, rule, tuple(values.shape)))
    if values.device != inputs.device:
        rule = f"on the device of inputs ({inputs.device})"
        raise ValueError(error_message(argument, rule, str(values.device)))


def check_finite(argument: str, values: Tensor, indices: Tensor | None = None) -> None:
    """Check that all values are finite, a part at a time.

    Args:
        argument: Name of the argument, for error messages.
        values: Values, ``(N, ...)``.
        indices: Index of each example, for error messages; None counts them.

    Raises:
        TypeError: If torch does not compute with their dtype.
        ValueError: If a value is not finite.
    """
    if not values.is_floating_point():
        return
    if values.dtype not in _COMPUTED:  # torch stores float8, but does not compute with it
        cure = f"convert it with {argument}.float()"
        rule = "of a dtype with which torch computes"
        raise TypeError(error_message(argument, rule, values.dtype, cure))
    count, first, start = 0, None, 0
    for part in torch.split(values, max(1, _VALUES_AT_ONCE // max(1, values[:1].numel()))):
        finite = torch.isfinite(part)
        if not finite.all():
            count += int((~finite).sum())
            first = start + int((~finite).nonzero()[0, 0]) if first is None else first
        start += len(part)
    if first is not None:
        row = first if indices is None else int(indices[first])
        found = "1 element that is" if count == 1 else f"{count} elements that are"
        cure = f"the first is in example {row}"
        raise ValueError(
            error_message(
                argument, "finite in every element", Unquoted(f"{found} not finite"), cure
            )
        )
