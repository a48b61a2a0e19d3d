"""Models that predict and evaluate themselves, with their preprocessing and temperature."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from mlpkit._devices import Precision
from mlpkit.training.batches import TrainingData
from mlpkit.training.metrics import Evaluation
from mlpkit.training.objectives import Objective, Task

__all__ = [
    "ObjectiveChooser",
    "Predictor",
    "ProbabilityPredictor",
    "check_input_range",
    "find_objective_chooser",
    "find_predictor",
    "find_thresholds",
    "reset_calibration",
    "task_of_model",
]


@runtime_checkable
class Predictor(Protocol):
    """A model to which :class:`Trainer` delegates prediction and evaluation."""

    def predict(self, x: Tensor, *, batch_size: int) -> Tensor:
        """Return the prediction for each example."""
        ...

    def evaluate(
        self,
        data: TrainingData,
        *,
        objective: Objective,
        batch_size: int,
        device: torch.device,
        precision: Precision,
    ) -> Evaluation:
        """Return the metrics of the model on the data."""
        ...


@runtime_checkable
class ProbabilityPredictor(Predictor, Protocol):
    """A classifier to which :class:`Trainer` delegates probabilities too."""

    def predict_proba(self, x: Tensor, *, batch_size: int) -> Tensor:
        """Return the probability of each class."""
        ...


@runtime_checkable
class ObjectiveChooser(Protocol):
    """A model that names its task and its default objective."""

    @property
    def task(self) -> Task:
        """Task of the model."""
        ...

    def choose_objective(self, given: Objective | None) -> Objective:
        """Return the default objective for None, and else ``given``, adapted to the targets."""
        ...


def find_objective_chooser(model: nn.Module) -> ObjectiveChooser | None:
    """Return the model itself if its class has ``choose_objective``, else None.

    A compiled model has the objective of the original one.
    """
    found = _original(model)
    has_method = callable(getattr(type(found), "choose_objective", None))
    return found if has_method and isinstance(found, ObjectiveChooser) else None


def _original(model: nn.Module) -> nn.Module:
    """Return the module that ``torch.compile`` has wrapped, else the model itself."""
    original: nn.Module | None = model.__dict__.get("_modules", {}).get("_orig_mod")
    return model if original is None else original


def task_of_model(model: nn.Module) -> Task | None:
    """Return the task that a model that names its objective declares; None for other modules."""
    chooser = find_objective_chooser(model)
    return None if chooser is None else chooser.task


def find_thresholds(model: nn.Module) -> Tensor | None:
    """Return the probability above which a model predicts each label; None means 0.5."""
    found = _original(model)
    has_them = isinstance(getattr(type(found), "target_thresholds", None), property)
    thresholds: object = found.target_thresholds if has_them else None
    return thresholds if isinstance(thresholds, Tensor) else None


def find_predictor(model: nn.Module) -> Predictor | None:
    """Return the model itself if its class has ``predict`` and ``evaluate``, else None.

    The methods are looked up on the class: a wrapper that forwards attributes to the module within
    is not asked for them, since they would not call the wrapper's ``forward``. A compiled model
    computes what the original one does, so the original one answers for it.
    """
    found = _original(model)
    has_methods = all(
        callable(getattr(type(found), name, None)) for name in ("predict", "evaluate")
    )
    return found if has_methods and isinstance(found, Predictor) else None


def check_input_range(model: nn.Module, inputs: Tensor) -> None:
    """Let a model whose class has ``check_input_range`` warn of inputs in other units."""
    found = _original(model)
    check: object = getattr(type(found), "check_input_range", None)
    if callable(check):
        check(found, inputs)


def reset_calibration(model: nn.Module) -> None:
    """Undo the calibration of a model and of every model within it: the weights will change."""
    for module in model.modules():
        reset: object = getattr(type(module), "reset_calibration", None)
        if callable(reset):
            reset(module)
