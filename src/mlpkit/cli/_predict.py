"""`mlpkit predict`: what a model predicts for image files, or for the rows of a CSV file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import torch
import tyro
from torch import Tensor
from tyro.conf import Positional

from mlpkit._checks import Unquoted, check_float, error_message
from mlpkit._files import write_atomically
from mlpkit._serialization import JSONValue
from mlpkit.cli._compute_options import ComputeOptions
from mlpkit.cli._images import Fit, ImageReader
from mlpkit.cli._model import Model, as_classifier
from mlpkit.cli._output import print_path
from mlpkit.cli._predicted_rows import predicted_rows
from mlpkit.cli._run_folder import RunFolder
from mlpkit.data import TableEncoder
from mlpkit.data.images import read_sized_image
from mlpkit.data.tables import read_csv
from mlpkit.errors import DataError
from mlpkit.models import SoftmaxClassifier

__all__ = ["Predict"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Predict:
    """Print the predicted class of each image; for a model of a table, write predictions as CSV."""

    files: Annotated[Positional[tuple[Path, ...]], tyro.conf.arg(metavar="FILE...")]
    """PNG or JPEG files of any size, dark on light or light on dark; or one CSV file."""
    model: Path
    """Folder of a run (runs/...) or of a model."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """CSV file to write for a model of a table; by default printed."""
    fit: Fit = "auto"
    """center: the ink, as in MNIST; resize: the whole image; auto: center for characters."""
    ink: float | None = None
    """Raw value of full ink; by default inferred from the model."""
    json: bool = False
    """Print JSON, with the probabilities of all classes."""
    compute: Annotated[ComputeOptions, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=ComputeOptions
    )

    def __post_init__(self) -> None:
        if not self.files:
            raise ValueError(error_message("FILE", "at least one file", Unquoted("none")))
        if self.ink is not None:
            check_float("--ink", self.ink, above=0.0)

    def run(self) -> None:
        """Read all inputs, then print or write the predictions."""
        model = self.compute.load_model(self.model)
        if model.encoder is not None:
            self._predict_rows(model, model.encoder)
        else:
            self._predict_images(as_classifier(model, "predict", self.model))

    def _predict_rows(self, model: Model, encoder: TableEncoder) -> None:
        """Print or write a row of predictions for each row of a CSV file."""
        if len(self.files) > 1:
            rule = "one CSV file for a model of a table"
            raise DataError(error_message("FILE", rule, Unquoted(f"{len(self.files)} files")))
        if self.fit != "auto" or self.ink is not None:
            option = "--fit" if self.ink is None else "--ink"
            value = self.fit if self.ink is None else self.ink
            raise DataError(error_message(option, "left out for a model of a table", value))
        if self.out is not None and self.out.exists() and self.out.samefile(self.files[0]):
            rule = "another file than the one that is read"
            raise DataError(error_message("--out", rule, str(self.out)))
        frame = read_csv(self.files[0], text_columns=encoder.text_columns)
        with self.compute.autocast():
            rows = predicted_rows(model, encoder, encoder.transform(frame))
        text = json.dumps(rows.to_dicts(), indent=2) + "\n" if self.json else rows.to_csv()
        if self.out is None:
            print(text, end="")
        else:
            print_path(write_atomically(self.out, lambda file: file.write(text.encode())))

    def _predict_images(self, model: SoftmaxClassifier) -> None:
        """Print one line per image."""
        if self.out is not None:
            raise DataError(
                error_message("--out", "left out for images", str(self.out), "use --json > FILE")
            )
        inputs = self._read_images(model)
        with self.compute.autocast():
            probabilities = model.predict_proba(inputs)
        if not probabilities.isfinite().all():
            cure = "check --ink, --precision and the weights of the model"
            raise DataError(error_message("every probability", "finite", float("nan"), cure))
        predictions = [
            _Prediction.ranking(path, dict(zip(model.classes, row, strict=True)))
            for path, row in zip(self.files, probabilities.tolist(), strict=True)
        ]
        print(_to_json(predictions) if self.json else _to_table(predictions))

    def _read_images(self, model: SoftmaxClassifier) -> Tensor:
        """Return the images as raw inputs of a model.

        Those of a run on a folder of images are read as its training images were.
        """
        source = RunFolder(self.model).read_source()
        is_default = self.fit == "auto" and self.ink is None
        shape = model.input_shape
        if source is None or not is_default or len(shape) not in (2, 3):
            reader = ImageReader(model, self.fit, self.ink)
            return torch.stack([reader.read(path) for path in self.files])
        size = (shape[-2], shape[-1])
        images = [read_sized_image(path, size=size, color=len(shape) == 3) for path in self.files]
        return torch.stack(images)


@dataclasses.dataclass(frozen=True, slots=True)
class _Prediction:
    """The probabilities of one image; `ranked` has the most probable class first."""

    path: Path
    probabilities: dict[str, float]
    ranked: tuple[str, ...]

    @classmethod
    def ranking(cls, path: Path, probabilities: dict[str, float]) -> _Prediction:
        """Return a prediction with its classes ranked by probability."""
        ranked = sorted(probabilities, key=lambda name: -probabilities[name])
        return cls(path, probabilities, tuple(ranked))


def _to_json(predictions: list[_Prediction]) -> str:
    rows: list[JSONValue] = [
        {
            "image": str(one.path),
            "class": one.ranked[0],
            "probability": one.probabilities[one.ranked[0]],
            "runner_up": one.ranked[1] if len(one.ranked) > 1 else None,
            "probabilities": dict(one.probabilities),
        }
        for one in predictions
    ]
    return json.dumps(rows, indent=2)


def _to_table(predictions: list[_Prediction]) -> str:
    rows = [("image", "class", "probability", "runner-up")]
    for one in predictions:
        first, *others = (f"{one.probabilities[name]:.2%}" for name in one.ranked[:2])
        runner_up = f"{one.ranked[1]} ({others[0]})" if others else ""
        rows.append((str(one.path), one.ranked[0], first, runner_up))
    wide, medium = (max(len(row[column]) for row in rows) for column in (0, 1))
    return "\n".join(
        f"{path:<{wide}}  {name:<{medium}}  {probability:>11}  {runner_up}".rstrip()
        for path, name, probability, runner_up in rows
    )
