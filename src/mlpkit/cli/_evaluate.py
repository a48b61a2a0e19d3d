"""`mlpkit evaluate`: the metrics of a trained classifier on a data set."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

from mlpkit._checks import error_message
from mlpkit.cli._compute_options import ComputeOptions
from mlpkit.cli._model import ModelArgument
from mlpkit.data import DatasetName, LabeledTensors, load
from mlpkit.errors import DataError
from mlpkit.models import SoftmaxClassifier

__all__ = ["Evaluate"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Evaluate:
    """Print the loss, the accuracy and the metrics of each class of a model on a data set."""

    model: ModelArgument
    """Folder of a run (runs/...) or of a model."""
    dataset: Annotated[Positional[DatasetName], tyro.conf.arg(metavar="DATASET")]
    """digits, mnist, fashion_mnist, kmnist, qmnist, emnist_letters..."""
    split: Literal["test", "val", "train"] = "test"
    """Split of the data set."""
    root: Path | None = None
    """Folder with the data files; by default MLPKIT_DATA, then the cache, then a download."""
    json: bool = False
    """Print JSON, which includes the confusion matrix."""
    compute: Annotated[ComputeOptions, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=ComputeOptions
    )

    def run(self) -> None:
        """Evaluate the model and print the metrics."""
        model = self.compute.load_model(self.model)
        data = getattr(load(self.dataset, root=self.root), self.split)
        _check_fit(model, data, self.dataset)
        evaluation = model.evaluate(data, precision=self.compute.precision)
        print(json.dumps(evaluation.to_dict(), indent=2) if self.json else evaluation)


def _check_fit(model: SoftmaxClassifier, data: LabeledTensors, name: str) -> None:
    """Raise if the data set has other classes or input shapes than the model."""
    shape = tuple(data.inputs.shape[1:])
    if shape != model.input_shape:
        rule = f"a data set with examples of the model's input shape {model.input_shape}"
        raise DataError(error_message("DATASET", rule, f"{name}, {shape}"))
    if data.classes != model.classes:
        rule = f"a data set with the model's classes ({', '.join(model.classes)})"
        raise DataError(error_message("DATASET", rule, name))
