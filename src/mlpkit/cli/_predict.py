"""`mlpkit predict`: the classes that a model predicts for image files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import torch
import tyro
from tyro.conf import Positional

from mlpkit._checks import Unquoted, check_float, error_message
from mlpkit._serialization import JSONValue
from mlpkit.cli._compute_options import ComputeOptions
from mlpkit.cli._images import Fit, ImageReader
from mlpkit.errors import DataError

__all__ = ["Predict"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Predict:
    """Print the predicted class of each image, its probability and the runner-up."""

    images: Annotated[Positional[tuple[Path, ...]], tyro.conf.arg(metavar="IMAGE...")]
    """PNG or JPEG files of any size, dark on light or light on dark."""
    model: Path
    """Folder of a run (runs/...) or of a model."""
    fit: Fit = "auto"
    """center: the ink, as in MNIST; resize: the whole image; auto: center for characters."""
    ink: float | None = None
    """Raw value of full ink; by default inferred from the model's mean and std."""
    json: bool = False
    """Print JSON, with the probabilities of all classes."""
    compute: Annotated[ComputeOptions, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=ComputeOptions
    )

    def __post_init__(self) -> None:
        if not self.images:
            raise ValueError(error_message("IMAGE", "at least one file", Unquoted("none")))
        if self.ink is not None:
            check_float("--ink", self.ink, above=0.0)

    def run(self) -> None:
        """Read all images, then print one line per image."""
        model = self.compute.load_classifier(self.model, "predict")
        reader = ImageReader(model, self.fit, self.ink)
        inputs = torch.stack([reader.read(path) for path in self.images])
        with self.compute.autocast():
            probabilities = model.predict_proba(inputs)
        if not probabilities.isfinite().all():
            cure = "check --ink, --precision and the weights of the model"
            raise DataError(error_message("every probability", "finite", float("nan"), cure))
        predictions = [
            _Prediction.ranking(path, dict(zip(model.classes, row, strict=True)))
            for path, row in zip(self.images, probabilities.tolist(), strict=True)
        ]
        print(_to_json(predictions) if self.json else _to_table(predictions))


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
            "picture": str(one.path),
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
