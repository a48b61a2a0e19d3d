"""Forward passes that leave no trace: evaluation and prediction."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mlpkit._checks import error_message
from mlpkit._devices import Precision, autocast, evaluation_mode
from mlpkit.training.batches import BatchLike, BatchSource, on_device
from mlpkit.training.metrics._metrics import (
    ClassificationAccumulator,
    Evaluation,
    RegressionAccumulator,
)
from mlpkit.training.objectives import Objective, OutputObjective, task_of

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
    poll: Callable[[], None] | None = None,
) -> Evaluation:
    """Return the figures of ``model`` on all ``batches``, each in evaluation mode.

    Args:
        model: The network, on ``device``.
        batches: What to evaluate on; epoch 0 of it.
        objective: For a regression, the loss; a classifier is judged by its cross-entropy.
        precision: Forward pass under autocast.
        device: Where the model is.
        classes: Names of the classes, or None.
        poll: Called before each batch; what it raises ends the evaluation.
    """
    metrics: ClassificationAccumulator | RegressionAccumulator | None = None
    with evaluation_mode(model):
        for batch in batches.epoch(0):
            if poll is not None:
                poll()
            batch = on_device(batch, device)
            is_classifier = task_of(objective, batch.targets) == "classification"
            with autocast(precision, device):
                losses = None if is_classifier else _losses(model, batch, objective)
                outputs = model(batch.inputs) if losses is None else losses
            if metrics is None:
                metrics = (
                    ClassificationAccumulator(classes) if is_classifier else RegressionAccumulator()
                )
            metrics.update(outputs, batch.targets, batch.weights, losses=losses)
    if metrics is None:
        raise ValueError(error_message("data", "at least one batch", 0, "give it examples"))
    return metrics.compute()


def _losses(model: nn.Module, batch: BatchLike, objective: Objective) -> Tensor:
    if isinstance(objective, OutputObjective):
        return objective.loss(model(batch.inputs), batch.targets)
    return objective(model, batch)


def forward(model: nn.Module, inputs: Tensor, batch_size: int, device: torch.device) -> Tensor:
    """Return the model's outputs, a batch at a time where there are more inputs than that."""
    if inputs.ndim < 2 or len(inputs) <= batch_size:
        return model(inputs.to(device))  # type: ignore[no-any-return]  # torch leaves a call untyped
    return torch.cat([model(part.to(device)) for part in torch.split(inputs, batch_size)])
