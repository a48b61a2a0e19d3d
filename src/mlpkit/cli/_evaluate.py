"""`mlpkit evaluate`: how good a trained classifier is on a data set."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from tyro.conf import Positional

from mlpkit._checks import error_message
from mlpkit.cli._compute_options import ComputeOptions
from mlpkit.cli._model import ModelArgument
from mlpkit.data import DatasetName, LabeledTensors, load
from mlpkit.errors import DataError
from mlpkit.models import SoftmaxClassifier
from mlpkit.training import ClassificationAccumulator, Evaluation

__all__ = ["Evaluate"]

BATCH_SIZE = 4096


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Evaluate:
    """Print the loss, the accuracy and the figures of each class of a model on a data set."""

    model: ModelArgument
    """Folder of a run (runs/...) or of a model."""
    dataset: Annotated[Positional[DatasetName], tyro.conf.arg(metavar="DATASET")]
    """digits, mnist, fashion_mnist, kmnist, qmnist, emnist_letters..."""
    split: Literal["test", "val", "train"] = "test"
    """Which of its examples."""
    root: Path | None = None
    """Folder with the data files; without it MLPKIT_DATA, then the cache, then a download."""
    json: bool = False
    """Print JSON, with the confusion matrix."""
    compute: Annotated[ComputeOptions, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=ComputeOptions
    )

    def run(self) -> None:
        """Load, evaluate and print."""
        model = self.compute.load_model(self.model)
        data = getattr(load(self.dataset, root=self.root), self.split)
        _check_fit(model, data, self.dataset)
        with self.compute.autocast():
            evaluation = evaluate(model, data)
        print(json.dumps(evaluation.to_dict(), indent=2) if self.json else evaluation)


@torch.inference_mode()
def evaluate(model: SoftmaxClassifier, data: LabeledTensors) -> Evaluation:
    """Return the figures of a classifier's probabilities, its fitted temperature included."""
    metrics = ClassificationAccumulator(model.classes)
    device = model.mean.device
    batches = (torch.split(values, BATCH_SIZE) for values in (data.inputs, data.targets))
    for inputs, targets in zip(*batches, strict=True):
        logits = model(inputs.to(device)).float()
        metrics.update(logits / model.temperature, targets.to(device))
    return metrics.compute()


def _check_fit(model: SoftmaxClassifier, data: LabeledTensors, name: str) -> None:
    """Refuse a data set of other classes or pictures: its figures would mean nothing."""
    shape = tuple(data.inputs.shape[1:])
    if shape != model.input_shape:
        rule = f"a data set of examples of shape {model.input_shape}, as the model takes them"
        raise DataError(error_message("DATASET", rule, f"{name}, {shape}"))
    if data.classes != model.classes:
        rule = f"a data set of the model's classes ({', '.join(model.classes)})"
        raise DataError(error_message("DATASET", rule, name))
