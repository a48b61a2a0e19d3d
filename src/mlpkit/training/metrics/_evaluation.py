"""Evaluation of a model on a data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mlpkit._checks import error_message
from mlpkit._devices import Precision, autocast, evaluation_mode
from mlpkit.training.batches import BatchLike, BatchSource, on_device
from mlpkit.training.metrics._classification_accumulator import ClassificationAccumulator
from mlpkit.training.metrics._custom_metrics import CustomMetrics
from mlpkit.training.metrics._loss_sums import LossAccumulator
from mlpkit.training.metrics._multilabel_accumulator import MultilabelAccumulator
from mlpkit.training.metrics._regression_accumulator import RegressionAccumulator
from mlpkit.training.metrics._results import Evaluation
from mlpkit.training.objectives import (
    BinaryCrossEntropy,
    CrossEntropy,
    Objective,
    OutputObjective,
    Task,
    outputs_of,
    predictions_of,
    task_of,
    unmixed,
    widened,
)

__all__ = ["compute_metrics", "evaluate", "forward"]


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
    thresholds: Tensor | None = None,
    model_task: Task | None = None,
    poll: Callable[[], None] | None = None,
    custom: CustomMetrics | None = None,
) -> Evaluation:
    """Return the metrics of ``model`` on all ``batches``, in evaluation mode.

    Args:
        model: The network, on ``device``.
        batches: The batches; those of epoch 0 are evaluated.
        objective: Loss of a regression. The loss of a classifier is always its cross-entropy (with
            several labels, the binary cross-entropy); the mean of another objective is reported as
            ``objective_loss``.
        precision: Precision of the forward pass.
        device: Device of the model.
        classes: Names of the classes, labels or targets; None means their indices.
        temperature: Divisor of the logits of a classifier; None means 1.
        thresholds: Probability above which a label is predicted as present, ``()`` or ``(L,)``;
            None means 0.5.
        model_task: Task that the model declares; None for a bare module.
        poll: Called before each batch; an exception that it raises ends the evaluation.
        custom: Metrics of the outputs and the targets; None computes none.
    """
    if custom is not None:
        custom.reset(device)
    metrics: _ClassifierMetrics | _RegressionMetrics | None = None
    with evaluation_mode(model):
        for batch in batches.epoch(0):
            if poll is not None:
                poll()
            batch = on_device(batch, device)
            if metrics is None:
                task = task_of(objective, batch.targets, model_task)
                if task == "regression":
                    metrics = _RegressionMetrics(objective, classes)
                else:
                    metrics = _ClassifierMetrics(objective, task, classes, temperature, thresholds)
            with autocast(precision, device):
                computed = metrics.forward(model, batch)
            metrics.update(batch, computed)
            if custom is not None:
                custom.update(computed.outputs, batch.targets)
    if metrics is None:
        raise ValueError(error_message("data", "at least one batch", 0, "add examples"))
    evaluation = metrics.compute()
    if custom is None or not custom.names:
        return evaluation
    return dataclasses.replace(evaluation, metrics=custom.compute())


@torch.inference_mode()
def compute_metrics(
    model: nn.Module,
    batches: BatchSource,
    custom: CustomMetrics,
    *,
    precision: Precision,
    device: torch.device,
) -> dict[str, float]:
    """Return the custom metrics of ``model`` on all ``batches``, in evaluation mode."""
    custom.reset(device)
    with evaluation_mode(model):
        for batch in batches.epoch(0):
            batch = on_device(batch, device)
            with autocast(precision, device):
                outputs = outputs_of(model, batch.inputs)
            custom.update(outputs, batch.targets)
    return custom.compute()


class _Computed(NamedTuple):
    """What the forward pass of one batch gives.

    Attributes:
        outputs: What the model returned.
        predictions: Predictions of a regression; None if they are unknown, and for a classifier.
        losses: The objective of each example; None where it is the cross-entropy of a classifier.
    """

    outputs: Tensor
    predictions: Tensor | None
    losses: Tensor | None


class _ClassifierMetrics:
    """Metrics of a classifier, with one class or with several labels for each example."""

    def __init__(
        self,
        objective: Objective,
        task: Task,
        classes: Sequence[str] | None,
        temperature: Tensor | None,
        thresholds: Tensor | None,
    ) -> None:
        self._objective = objective
        self._temperature = temperature
        self._objective_mean: LossAccumulator | None = None
        self._metrics: ClassificationAccumulator | MultilabelAccumulator
        self._cross_entropy: OutputObjective
        if task == "classification":
            self._metrics, self._cross_entropy = ClassificationAccumulator(classes), CrossEntropy()
        else:
            self._metrics = MultilabelAccumulator(classes, thresholds=thresholds)
            self._cross_entropy = BinaryCrossEntropy()

    def forward(self, model: nn.Module, batch: BatchLike) -> _Computed:
        """Return the logits, and the losses of an objective that is not the plain cross-entropy.

        There are no losses of an objective that declares its ``task`` but has no method ``loss``.
        Such an objective changes the inputs or needs gradients, and cannot be computed here.
        """
        outputs, objective = outputs_of(model, batch.inputs), self._objective
        base = unmixed(objective)
        if isinstance(base, OutputObjective):
            is_default = base == self._cross_entropy
            losses = None if is_default else base.loss(outputs, batch.targets)
            return _Computed(outputs, None, losses)
        losses = None if hasattr(objective, "task") else objective(model, batch)
        return _Computed(outputs, None, losses)

    def update(self, batch: BatchLike, computed: _Computed) -> None:
        """Add one batch."""
        outputs, _, losses = computed
        if losses is not None:
            if self._objective_mean is None:
                self._objective_mean = LossAccumulator()
            self._objective_mean.update(losses, batch.weights)
        if self._temperature is not None:
            outputs = widened(outputs) / self._temperature
        self._metrics.update(outputs, batch.targets, batch.weights)

    def compute(self) -> Evaluation:
        """Return the metrics; synchronizes with the device."""
        evaluation, mean = self._metrics.compute(), self._objective_mean
        if mean is None:
            return evaluation
        return dataclasses.replace(evaluation, objective_loss=mean.compute().loss)


class _RegressionMetrics:
    """Metrics of a regression; only the loss, if it is unknown what the model predicts."""

    def __init__(self, objective: Objective, target_names: Sequence[str] | None) -> None:
        self._objective = objective
        self._target_names = target_names
        self._metrics: RegressionAccumulator | LossAccumulator | None = None

    def forward(self, model: nn.Module, batch: BatchLike) -> _Computed:
        """Return the predictions and the losses."""
        objective = self._objective
        outputs = model(batch.inputs)
        if isinstance(objective, OutputObjective):
            losses = objective.loss(outputs, batch.targets)
        else:
            losses = objective(model, batch)  # calls the model itself
        return _Computed(outputs, predictions_of(objective, outputs, batch.targets), losses)

    def update(self, batch: BatchLike, computed: _Computed) -> None:
        """Add one batch."""
        _, predictions, losses = computed
        assert losses is not None, "a regression has losses"
        if predictions is None or isinstance(self._metrics, LossAccumulator):
            if self._metrics is None:
                self._metrics = LossAccumulator()
            assert isinstance(self._metrics, LossAccumulator), "all batches have predictions"
            self._metrics.update(losses, batch.weights)
            return
        if self._metrics is None:
            self._metrics = RegressionAccumulator(self._target_names)
        self._metrics.update(predictions, batch.targets, batch.weights, losses=losses)

    def compute(self) -> Evaluation:
        """Return the metrics; synchronizes with the device."""
        metrics = LossAccumulator() if self._metrics is None else self._metrics
        return metrics.compute()


def forward(model: nn.Module, inputs: Tensor, batch_size: int, device: torch.device) -> Tensor:
    """Return the outputs of the model, computed in batches of at most ``batch_size``.

    The model gets copies, which it may change in place.
    """
    if inputs.ndim < 2 or len(inputs) <= batch_size:
        return outputs_of(model, inputs.to(device, copy=True))
    parts = torch.split(inputs, batch_size)
    return torch.cat([outputs_of(model, part.to(device, copy=True)) for part in parts])
