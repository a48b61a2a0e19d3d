"""`mlpkit predict`: what a model sees in pictures."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import torch
import tyro
from tyro.conf import Positional

from mlpkit._checks import check_float, error_message
from mlpkit._serialization import JSONValue
from mlpkit.cli._compute_options import ComputeOptions
from mlpkit.cli._pictures import Fit, PictureReader

__all__ = ["Predict"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Predict:
    """Print the class that a model sees in each picture, its probability and the runner-up."""

    pictures: Annotated[Positional[tuple[Path, ...]], tyro.conf.arg(metavar="PICTURE...")]
    """PNG or JPEG of any size, dark on light or light on dark."""
    model: Path
    """Folder of a run (runs/...) or of a model."""
    fit: Fit = "auto"
    """center: the ink, as MNIST is; resize: the whole picture; auto: as the classes ask."""
    ink: float | None = None
    """Raw value of full ink; without it, the model's mean and std tell."""
    json: bool = False
    """Print JSON, with the probabilities of all classes."""
    compute: Annotated[ComputeOptions, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=ComputeOptions
    )

    def __post_init__(self) -> None:
        if not self.pictures:
            raise ValueError(error_message("PICTURE", "at least one file", "none"))
        if self.ink is not None:
            check_float("ink", self.ink, above=0.0)

    def run(self) -> None:
        """Read all pictures, then print a line for each."""
        model = self.compute.load_model(self.model)
        reader = PictureReader(model, self.fit, self.ink)
        inputs = torch.stack([reader.read(path) for path in self.pictures])
        with self.compute.autocast():
            probabilities = model.predict_proba(inputs).tolist()
        seen = [
            _Seen.of(path, dict(zip(model.classes, row, strict=True)))
            for path, row in zip(self.pictures, probabilities, strict=True)
        ]
        print(_as_json(seen) if self.json else _as_table(seen))


@dataclasses.dataclass(frozen=True, slots=True)
class _Seen:
    """What a model sees in one picture."""

    picture: Path
    probabilities: dict[str, float]
    ranked: tuple[str, ...]

    @classmethod
    def of(cls, picture: Path, probabilities: dict[str, float]) -> _Seen:
        """Rank the classes, the most probable first."""
        ranked = sorted(probabilities, key=lambda name: -probabilities[name])
        return cls(picture, probabilities, tuple(ranked))


def _as_json(seen: list[_Seen]) -> str:
    rows: list[JSONValue] = [
        {
            "picture": str(one.picture),
            "class": one.ranked[0],
            "probability": one.probabilities[one.ranked[0]],
            "runner_up": one.ranked[1] if len(one.ranked) > 1 else None,
            "probabilities": dict(one.probabilities),
        }
        for one in seen
    ]
    return json.dumps(rows, indent=2)


def _as_table(seen: list[_Seen]) -> str:
    rows = [("picture", "class", "probability", "runner-up")]
    for one in seen:
        first, *others = (f"{one.probabilities[name]:.2%}" for name in one.ranked[:2])
        runner_up = f"{one.ranked[1]} ({others[0]})" if others else ""
        rows.append((str(one.picture), one.ranked[0], first, runner_up))
    wide, medium = (max(len(row[column]) for row in rows) for column in (0, 1))
    return "\n".join(
        f"{picture:<{wide}}  {name:<{medium}}  {probability:>11}  {runner_up}".rstrip()
        for picture, name, probability, runner_up in rows
    )
