"""Protocols of objectives, and the task of an objective."""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor, nn

from mlpkit._checks import Unquoted, error_message
from mlpkit.training.batches import BatchLike

__all__ = [
    "Objective",
    "OutputObjective",
    "Task",
    "check_losses",
    "check_objective",
    "checked_outputs",
    "is_readable",
    "outputs_of",
    "predictions_of",
    "task_of",
    "widened",
]

Task: TypeAlias = Literal["classification", "multilabel", "regression"]


@runtime_checkable
class Objective(Protocol):
    """A callable that returns one loss for each example of a batch.

    The trainer multiplies the losses by the example and class weights and computes the mean, so an
    objective must not reduce them. An objective calls the model itself: it may call it several
    times, on other inputs, or read something besides the output. It must draw random numbers from
    torch's global generator, whose state the trainer saves in every checkpoint, so that a resumed
    run draws the same numbers.

    Example:
        A custom objective is a function of the model and the batch:

        >>> import torch
        >>> from torch import Tensor, nn
        >>> from mlpkit.training import BatchLike, Objective
        >>> def absolute_error(model: nn.Module, batch: BatchLike) -> Tensor:
        ...     return (model(batch.inputs) - batch.targets).abs().mean(dim=1)
        >>> isinstance(absolute_error, Objective)
        True
    """

    def __call__(self, model: nn.Module, batch: BatchLike) -> Tensor:
        """Return the loss of each example, ``(N,)``, without weights."""
        ...


@runtime_checkable
class OutputObjective(Objective, Protocol):
    """An objective that depends on the model through its outputs only.

    The evaluation of a regression takes the outputs as predictions of the targets, if both have the
    same shape. Where that is wrong, a method ``predictions(outputs, targets)`` returns the
    predictions in the shape of the targets, as that of :class:`~mlpkit.training.GaussianNLL`.
    """

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each example, ``(N,)``."""
        ...


def check_objective(value: object) -> None:
    """Raise TypeError unless a value is an objective, as far as this can be known."""
    function = getattr(value, "func", value)  # of a partial
    is_of_torch = getattr(function, "__module__", None) == "torch.nn.functional"
    is_loss = is_of_torch or isinstance(value, type | nn.modules.loss._Loss)
    if is_loss or not callable(value):
        rule = "a function of a model and a batch that returns one loss for each example"
        cure = "use an instance such as CrossEntropy() or MeanSquaredError() of mlpkit.training"
        raise TypeError(error_message("objective", rule, value, cure))


def task_of(objective: Objective, targets: Tensor, model_task: Task | None = None) -> Task:
    """Return the task of a run: that of its model or objective, or the one of the targets.

    For an objective without the attribute ``task`` the task is classification if the targets are
    class indices, and regression if they are floating-point.

    Args:
        objective: The objective of the run.
        targets: Targets of the run.
        model_task: The task that the model declares, if any.
    """
    if model_task is not None:
        return model_task
    task: object = getattr(objective, "task", None)
    if task == "classification" or task == "multilabel" or task == "regression":
        return task
    if task is not None:
        rule = "'classification', 'multilabel' or 'regression'"
        raise ValueError(error_message("objective.task", rule, task))
    return "regression" if targets.is_floating_point() else "classification"


def predictions_of(objective: Objective, outputs: Tensor, targets: Tensor) -> Tensor | None:
    """Return the predictions of the targets of a regression, in their shape.

    An objective may have a method ``predictions(outputs, targets)``; without it the outputs are the
    predictions. The result is None for outputs of another shape than the targets: there it is
    unknown what the model predicts.
    """
    method: object = getattr(objective, "predictions", None)
    predictions: object = method(outputs, targets) if callable(method) else outputs
    if isinstance(predictions, Tensor) and predictions.shape == targets.shape:
        return predictions
    return None


def outputs_of(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return the outputs of a model for a batch; raise TypeError unless they are a tensor."""
    return checked_outputs(model(inputs))


def checked_outputs(outputs: object) -> Tensor:
    """Return the outputs of a model; raise TypeError unless they are a tensor."""
    if not isinstance(outputs, Tensor):
        rule = "a module that returns a tensor"
        found = Unquoted(f"one that returns a {type(outputs).__name__}")
        raise TypeError(
            error_message("model", rule, found, "return the logits or predictions alone")
        )
    return outputs


def check_losses(losses: object, targets: Tensor) -> None:
    """Raise unless an objective has returned one loss for each example.

    Raises:
        ValueError: If the losses are no tensor of the shape ``(N,)``.
    """
    shape = tuple(losses.shape) if isinstance(losses, Tensor) else losses
    if shape != targets.shape[:1]:
        rule = f"a function that returns one loss for each example, ({len(targets)},)"
        cure = 'do not reduce over the examples, for instance with reduction="none"'
        if isinstance(losses, Tensor) and losses.ndim > 1:
            cure = "take the mean over the other axes, for instance with losses.flatten(1).mean(1)"
        raise ValueError(error_message("objective", rule, shape, cure))


def widened(outputs: Tensor) -> Tensor:
    """Return outputs in half precision as float32, and other outputs unchanged."""
    return outputs.float() if outputs.dtype in (torch.float16, torch.bfloat16) else outputs


def is_readable(tensor: Tensor) -> bool:
    """Return whether reading a value is cheap and possible.

    On an accelerator it would synchronize with the device, and transforms of ``torch.func`` and
    ``torch.compile`` do not allow it.
    """
    is_wrapped = torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    return tensor.device.type == "cpu" and not is_wrapped and not torch.compiler.is_compiling()
