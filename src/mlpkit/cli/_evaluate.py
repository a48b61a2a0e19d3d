"""`mlpkit evaluate`: the metrics of a trained model on a data set."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

from mlpkit._checks import Unquoted, error_message
from mlpkit.cli._compute_options import ComputeOptions
from mlpkit.cli._files import check_dataset, dataset_name, read_for_model
from mlpkit.cli._model import Model, ModelArgument
from mlpkit.cli._run_folder import RunFolder
from mlpkit.data import LabeledTensors, load
from mlpkit.errors import DataError
from mlpkit.models import MultilabelClassifier, Regressor, SoftmaxClassifier

__all__ = ["Evaluate"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Evaluate:
    """Print the loss and the metrics of a model on a data set, by class, label or target."""

    model: ModelArgument
    """Folder of a run (runs/...) or of a model."""
    dataset: Annotated[Positional[str], tyro.conf.arg(metavar="DATASET")]
    """digits, mnist, emnist_letters..., FILE.csv, or a folder of image folders."""
    split: Literal["test", "val", "train"] = "test"
    """Split of the data set, or of the file or folder that the run used; other files: all rows."""
    root: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """Folder with the data files; by default that of the run, or MLPKIT_DATA."""
    verify: bool = True
    """Accept files of a data set that are not the published ones."""
    json: bool = False
    """Print JSON, which includes the confusion matrix of a classifier."""
    compute: Annotated[ComputeOptions, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=ComputeOptions
    )

    def __post_init__(self) -> None:
        check_dataset(self.dataset)

    def run(self) -> None:
        """Evaluate the model and print the metrics."""
        model = self.compute.load_model(self.model)
        name = dataset_name(self.dataset)
        if name is not None:
            root, verify = RunFolder(self.model).read_root(name)
            verify = verify and self.verify
            data = getattr(load(name, root=self.root or root, verify=verify), self.split)
        else:
            source = RunFolder(self.model).read_source()
            path = Path(self.dataset)
            if self.root is not None and not path.exists():
                path = self.root / path
            data = read_for_model(model, path, source, self.split)
            if source is not None and self.root is not None and not self.root.is_dir():
                rule = "a folder with the file"
                raise DataError(error_message("--root", rule, str(self.root)))
        _check_fit(model, data, self.dataset)
        evaluation = model.evaluate(data, precision=self.compute.precision)
        print(json.dumps(evaluation.to_dict(), indent=2) if self.json else evaluation)


def _check_fit(model: Model, data: LabeledTensors, name: str) -> None:
    """Raise if the data set has targets of another kind, other names or input shapes."""
    if isinstance(model, SoftmaxClassifier) == data.targets.is_floating_point():
        raise DataError(_target_message(model, name))
    shape = tuple(data.inputs.shape[1:])
    if shape != model.input_shape:
        rule = f"a data set with examples of the model's input shape {model.input_shape}"
        raise DataError(error_message("DATASET", rule, Unquoted(f"{name}, {shape}")))
    names = model.target_names if isinstance(model, Regressor) else model.classes
    if names is not None and data.classes != names:
        kind = {SoftmaxClassifier: "classes", MultilabelClassifier: "labels", Regressor: "targets"}
        rule = f"a data set with the model's {kind[type(model)]} ({', '.join(names)})"
        raise DataError(error_message("DATASET", rule, name))


def _target_message(model: Model, name: str) -> str:
    """Return the error message for a data set whose targets are of another kind."""
    if isinstance(model, SoftmaxClassifier):
        rule, found = "one class for each example", "floating-point targets"
    elif isinstance(model, MultilabelClassifier):
        rule, found = "several labels for each example", "one class for each example"
    else:
        rule, found = "the targets of a regression", "classes"
    return error_message(
        "DATASET",
        f"a data set with {rule} for a {type(model).__name__}",
        Unquoted(f"{name}, which has {found}"),
        "evaluate the model on other data from Python with its method evaluate",
    )
