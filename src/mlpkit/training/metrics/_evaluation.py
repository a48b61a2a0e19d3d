"""Evaluation of a model on a data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mlpkit._checks import error_message
from mlpkit._devices import Precision, autocast, evaluation_mode
from mlpkit.training.batches import BatchLike, BatchSource, on_device
from mlpkit.training.metrics._accumulators import ClassificationAccumulator, RegressionAccumulator
from mlpkit.training.metrics._results import Evaluation
from mlpkit.training.objectives import (
    CrossEntropy,
    Mixup,
    Objective,
    OutputObjective,
    task_of,
    widened,
)

__all__ = ["evaluate", "forward"]


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    batches: BatchSource,
    objective: Objective,
    *,
    precision: Precision,
    device: torch.device,
    classes: Sequence[str] | None,
    temperature: Tensor | None = None,
    poll: Callable[[], None] | None = None,
) -> Evaluation:
    """Return the metrics of ``model`` on all ``batches``, in evaluation mode.

    Args:
        model: The network, on ``device``.
        batches: The batches; those of epoch 0 are evaluated.
        objective: Loss of a regression. The loss of a classifier is always its cross-entropy; the
            mean of another objective is reported as ``objective_loss``.
        precision: Precision of the forward pass.
        device: Device of the model.
        classes: Names of the classes; None means their indices.
        temperature: Divisor of the logits of a classifier; None means 1.
        poll: Called before each batch; an exception that it raises ends the evaluation.
    """
    metrics: ClassificationAccumulator | RegressionAccumulator | None = None
    objective_mean: RegressionAccumulator | None = None  # of a classifier
    with evaluation_mode(model):
        for batch in batches.epoch(0):
            if poll is not None:
                poll()
            batch = on_device(batch, device)
            is_classifier = task_of(objective, batch.targets) == "classification"
            with autocast(precision, device):
                losses = None if is_classifier else _losses(model, batch, objective)
                outputs = model(batch.inputs) if losses is None else losses
                objective_losses = (
                    _objective_losses(model, batch, objective, outputs) if is_classifier else None
                )
            if metrics is None:
                metrics = (
                    ClassificationAccumulator(classes) if is_classifier else RegressionAccumulator()
                )
            if objective_losses is not None:
                if objective_mean is None:
                    objective_mean = RegressionAccumulator()
                objective_mean.update(
                    outputs, batch.targets, batch.weights, losses=objective_losses
                )
            if is_classifier and temperature is not None:
                outputs = widened(outputs) / temperature
            metrics.update(outputs, batch.targets, batch.weights, losses=losses)
    if metrics is None:
        raise ValueError(error_message("data", "at least one batch", 0, "add examples"))
    evaluation = metrics.compute()
    if objective_mean is None:
        return evaluation
    return dataclasses.replace(evaluation, objective_loss=objective_mean.compute().loss)


def _losses(model: nn.Module, batch: BatchLike, objective: Objective) -> Tensor:
    if isinstance(objective, OutputObjective):
        return objective.loss(model(batch.inputs), batch.targets)
    return objective(model, batch)


def _objective_losses(
    model: nn.Module, batch: BatchLike, objective: Objective, outputs: Tensor
) -> Tensor | None:
    """Return the objective of each example of a classifier; None if it is the cross-entropy.

    It is also None for an objective that declares its ``task`` but has no method ``loss``. Such an
    objective changes the inputs or needs gradients, and cannot be computed in evaluation.
    """
    base = objective.objective if isinstance(objective, Mixup) else objective
    if isinstance(base, OutputObjective):
        return None if base == CrossEntropy() else base.loss(outputs, batch.targets)
    return None if hasattr(objective, "task") else objective(model, batch)


def forward(model: nn.Module, inputs: Tensor, batch_size: int, device: torch.device) -> Tensor:
    """Return the outputs of the model, computed in batches of at most ``batch_size``.

    The model gets copies, which it may change in place.
    """
    if inputs.ndim < 2 or len(inputs) <= batch_size:
        return model(inputs.to(device, copy=True))  # type: ignore[no-any-return]  # torch does not annotate nn.Module.__call__
    return torch.cat(
        [model(part.to(device, copy=True)) for part in torch.split(inputs, batch_size)]
    )
