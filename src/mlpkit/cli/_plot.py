"""`mlpkit plot`: pictures of a run, or the learning curves of several."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from tyro.conf import Positional

from mlpkit import plots
from mlpkit._checks import error_message
from mlpkit._files import write_atomically
from mlpkit.cli._evaluate import evaluate
from mlpkit.errors import ConfigError
from mlpkit.nn import activation_statistics
from mlpkit.report import Run, read_run
from mlpkit.training import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Plot"]

_MEASURED = 1000  # examples that the layers are looked at with


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Plot:
    """Draw a run: curves, confusion, mistakes, calibration, weights, layers; of several, curves."""

    folders: Annotated[Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN...")]
    """Folders of finished runs (runs/...)."""
    out: Path | None = None
    """Folder for the pictures; RUN/plots of one run, plots of several."""
    root: Path | None = None
    """Folder with the data files; by default, where the run had them."""
    format: Literal["png", "svg", "pdf"] = "png"
    """Kind of file."""
    appearance: plots.Appearance = "light"
    """Color of the paper."""
    activations: bool = False
    """Draw activation functions and their derivatives too, for which no RUN is needed."""

    def __post_init__(self) -> None:
        if not self.folders and not self.activations:
            raise ValueError(error_message("RUN", "at least one folder of a run", self.folders))

    def run(self) -> None:
        """Draw, write and print the path of each picture."""
        figures: dict[str, Figure] = {}
        default = Path("plots")
        if len(self.folders) == 1:
            figures = self._of_one(read_run(self.folders[0], root=self.root))
            default = self.folders[0] / "plots"
        elif self.folders:
            short = {path.resolve().name for path in self.folders}
            is_clear = len(short) == len(self.folders)
            runs = {
                path.resolve().name if is_clear else str(path): _history(path)
                for path in self.folders
            }
            figures = {"learning_curves": plots.learning_curves(runs, appearance=self.appearance)}
        if self.activations:
            look = self.appearance
            figures["activation_functions"] = plots.activation_functions(appearance=look)
        folder = self.out or default
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            print(self._written(folder / f"{name}.{self.format}", figure))

    def _of_one(self, run: Run) -> dict[str, Figure]:
        model, test, look = run.model, run.test, self.appearance
        probabilities = model.predict_proba(test.inputs)
        figures = {
            "learning_curves": plots.learning_curves(run.history, appearance=look),
            "confusion_matrix": plots.confusion_matrix(evaluate(model, test), appearance=look),
            "worst_mistakes": plots.worst_mistakes(model, test, appearance=look),
            "calibration": plots.calibration(probabilities, test.targets, appearance=look),
            "first_layer_weights": plots.first_layer_weights(model, appearance=look),
        }
        if run.layer_health:
            figures["layer_health"] = plots.layer_health(run.layer_health, appearance=look)
        if len(model.network.layers):
            x = model.standardize(test.inputs[:_MEASURED])
            statistics = activation_statistics(model.network, x)
            figures["layers"] = plots.layer_health(statistics, appearance=look)
        return figures

    def _written(self, path: Path, figure: Figure) -> Path:
        return write_atomically(path, lambda file: figure.savefig(file, format=self.format))


def _history(folder: Path) -> History:
    """Return the history of a run; of several runs nothing else is read."""
    path = folder / "history.json"
    if not path.exists():
        rule = "the folder of a run that mlpkit train has finished"
        raise ConfigError(error_message("RUN", rule, str(folder), f"there is no {path.name} in it"))
    return History.from_json(path)
