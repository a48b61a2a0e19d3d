"""Models with methods for prediction and evaluation, to which the trainer delegates."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from mlpkit._devices import Precision
from mlpkit.training.batches import TrainingData
from mlpkit.training.metrics import Evaluation

__all__ = ["Predictor", "find_predictor", "reset_calibration"]


@runtime_checkable
class Predictor(Protocol):
    """A model to which :class:`Trainer` delegates prediction and evaluation."""

    def predict(self, x: Tensor, *, batch_size: int) -> Tensor:
        """Return the prediction for each example."""
        ...

    def predict_proba(self, x: Tensor, *, batch_size: int) -> Tensor:
        """Return the probability of each class."""
        ...

    def evaluate(
        self,
        data: TrainingData,
        *,
        batch_size: int,
        device: torch.device,
        precision: Precision,
    ) -> Evaluation:
        """Return the metrics of the model on the data."""
        ...

    def reset_calibration(self) -> None:
        """Undo a calibration, which is valid only for the weights that it was fitted to."""
        ...


_METHODS = ("predict", "predict_proba", "evaluate", "reset_calibration")


def find_predictor(model: nn.Module) -> Predictor | None:
    """Return the model itself if its class has the methods of :class:`Predictor`, else None.

    The methods are looked up on the class. A wrapper that forwards attributes to an inner module
    does not count, since the methods of that module do not call ``forward`` of the wrapper.
    """
    has_methods = all(callable(getattr(type(model), name, None)) for name in _METHODS)
    return model if has_methods and isinstance(model, Predictor) else None


def reset_calibration(model: nn.Module) -> None:
    """Undo the calibration of a model that has one."""
    predictor = find_predictor(model)
    if predictor is not None:
        predictor.reset_calibration()
