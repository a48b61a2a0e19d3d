"""Forward passes that leave no trace: evaluation and prediction."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from mlpkit._checks import sentence
from mlpkit.training._engine import Precision, autocast
from mlpkit.training._metrics import ClassificationMetrics, Evaluation, RegressionMetrics
from mlpkit.training._objectives import Objective, OutputObjective, task_of
from mlpkit.training._sources import BatchLike, BatchSource, on_device

__all__ = ["evaluate", "evaluation_mode", "forward", "is_training"]


@contextlib.contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put every module into evaluation mode, and each back into its own afterwards."""
    in_training = [module for module in model.modules() if module.training]
    if not in_training:
        yield
        return
    try:
        model.eval()
        yield
    finally:
        for module in in_training:
            module.training = True


def is_training(module: nn.Module) -> bool:
    """Return whether a module or any within it is in training mode.

    Asked for every single input: twice as fast as a walk through ``modules()``.
    """
    parts = module._modules.values()
    return module.training or any(is_training(part) for part in parts if part is not None)


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
    metrics: ClassificationMetrics | RegressionMetrics | None = None
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
                metrics = ClassificationMetrics(classes) if is_classifier else RegressionMetrics()
            metrics.update(outputs, batch.targets, batch.weights, losses=losses)
    if metrics is None:
        raise ValueError(sentence("data", "at least one batch", 0, "give it examples"))
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
