"""Class weights as numbers: given for each class, by class name, or balanced."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mlpkit._checks import error_message
from mlpkit._class_names import class_names
from mlpkit._devices import evaluation_mode
from mlpkit.training._config import ClassWeights
from mlpkit.training.batches import TrainingData, known_inputs

__all__ = ["numeric_class_weights"]


def numeric_class_weights(
    given: ClassWeights | None,
    model: nn.Module,
    train: TrainingData,
    targets: Tensor | None,
    *,
    weights: Tensor | None = None,
) -> tuple[float, ...] | None:
    """Return one number for each class.

    Args:
        given: The class weights of the configuration.
        model: The model; its class names or outputs determine the number of classes.
        train: The training examples.
        targets: All targets of the training examples, or None if they are not known.
        weights: Weight of each training example, ``(N,)``; None for equal weights.

    Raises:
        ValueError: If there is not one weight for each class, or the balanced weights cannot be
            computed.
    """
    if given is None:
        return None
    names = class_names(model) or class_names(train)
    outputs: object = getattr(model, "out_features", None)
    count = len(names) if names is not None else outputs
    if isinstance(given, str):
        if getattr(train, "balanced", False):
            rule = "None for batches that are balanced already"
            raise ValueError(error_message("class_weights", rule, given))
        return _balanced(targets, weights, count if isinstance(count, int) else None)
    if isinstance(given, Mapping):
        return _by_name(given, names)
    if not isinstance(count, int) and targets is not None:
        count = _num_outputs(model, train)
    if isinstance(count, int) and count != len(given):
        rule = f"one number for each of the {count} classes"
        raise ValueError(error_message("class_weights", rule, given))
    return given


def _num_outputs(model: nn.Module, train: TrainingData) -> int | None:
    """Return the number of outputs for one training example; None if it cannot be known."""
    inputs = known_inputs(train)
    if inputs is None or not len(inputs):
        return None
    device = next((one.device for one in model.parameters()), inputs.device)
    with evaluation_mode(model), torch.no_grad():
        outputs: object = model(inputs[:1].to(device, copy=True))
    return outputs.shape[1] if isinstance(outputs, Tensor) and outputs.ndim == 2 else None


def _by_name(given: Mapping[str, float], names: tuple[str, ...] | None) -> tuple[float, ...]:
    if names is None:
        rule = "a sequence of numbers for classes without names"
        cure = "give LabeledTensors its classes, or pass one number for each class"
        raise ValueError(error_message("class_weights", rule, dict(given), cure))
    if set(given) != set(names):
        rule = f"one number for each of the classes {list(names)}"
        missing = [name for name in names if name not in given]
        unknown = [name for name in given if name not in names]
        cure = "; ".join([f"add {missing}"] * bool(missing) + [f"remove {unknown}"] * bool(unknown))
        raise ValueError(error_message("class_weights", rule, dict(given), cure))
    return tuple(given[name] for name in names)


def _balanced(
    targets: Tensor | None, weights: Tensor | None, count: int | None
) -> tuple[float, ...]:
    r"""Return :math:`N / (C n_c)`; a class without examples gets 0, which no example uses.

    An example of weight 2 counts as two examples.
    """
    if targets is None or targets.is_floating_point():
        rule = "numbers for data whose class indices are not known before the run"
        cure = "pass LabeledTensors with class indices, or one number for each class"
        raise ValueError(error_message("class_weights", rule, "balanced", cure))
    weights = None if weights is None else weights.cpu().double()
    counts = torch.bincount(targets.cpu(), weights, minlength=count or 0).double()
    if not bool(counts.sum() > 0):
        raise ValueError(error_message("train", "at least one example", 0))
    balanced = torch.where(counts > 0, counts.sum() / (len(counts) * counts), 0.0)
    return tuple(balanced.tolist())
