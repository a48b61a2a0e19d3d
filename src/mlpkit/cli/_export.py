"""`mlpkit export`: a model as one ONNX or PyTorch export file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from mlpkit.cli._model import ModelArgument, load_model
from mlpkit.cli._output import print_path

__all__ = ["Export"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Export:
    """Write a model as one file that maps raw inputs to probabilities or predictions."""

    model: ModelArgument
    """Folder of a run (runs/...) or of a model."""
    to: Literal["onnx", "pt2"] = "onnx"
    """onnx: for onnxruntime and others, verified against the model; pt2: for torch.export.load."""
    out: Path | None = None
    """The file to write; model.onnx or model.pt2 by default."""

    def run(self) -> None:
        """Load the model, export it and print the path."""
        from mlpkit.export import export_onnx, export_pt2

        export = {"onnx": export_onnx, "pt2": export_pt2}[self.to]
        print_path(export(load_model(self.model), self.out or Path(f"model.{self.to}")))
