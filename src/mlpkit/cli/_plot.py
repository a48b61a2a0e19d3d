"""`mlpkit plot`: plots of one run, or the learning curves of several runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from tyro.conf import Positional

from mlpkit import plots
from mlpkit._checks import Unquoted, error_message
from mlpkit._files import printable, write_atomically
from mlpkit.cli._files import read_run_files
from mlpkit.cli._run_folder import RunFolder, make_folder
from mlpkit.data import LabeledTensors
from mlpkit.errors import ConfigError
from mlpkit.models import MultilabelClassifier, Regressor, SoftmaxClassifier
from mlpkit.nn import activation_statistics
from mlpkit.report import Run
from mlpkit.training import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Plot"]

_NUM_MEASURED = 1000  # examples for the activation statistics


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Plot:
    """Plot a run: curves, test metrics, calibration or residuals, weights; or compare several."""

    folders: Annotated[Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN...")]
    """Folders of finished runs (runs/...)."""
    out: Path | None = None
    """Folder for the plots; by default RUN/plots for one run and plots for several."""
    root: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Folder with the data files, or the CSV file; by default as in the run."""
    format: Literal["png", "svg", "pdf"] = "png"
    """File format."""
    appearance: plots.Appearance = "light"
    """Light or dark background."""
    activations: bool = False
    """Also plot activation functions and their derivatives; this needs no RUN."""

    def __post_init__(self) -> None:
        if not self.folders and not self.activations:
            raise ValueError(error_message("RUN", "at least one folder of a run", Unquoted("none")))
        if self.root is not None and len(self.folders) != 1:
            rule = "given with one RUN, whose test set it holds"
            raise ValueError(error_message("--root", rule, str(self.root), "leave it out"))

    def run(self) -> None:
        """Write the plots and print their paths."""
        figures: dict[str, Figure] = {}
        default = Path("plots")
        if len(self.folders) == 1:
            figures = self._plot_run(read_run_files(self.folders[0], self.root))
            default = self.folders[0] / "plots"
        elif self.folders:
            names = {printable(path.resolve().name) for path in self.folders}
            are_unique = len(names) == len(self.folders)
            runs = {
                printable(path.resolve().name if are_unique else path): _read_history(path)
                for path in self.folders
            }
            figures = {"learning_curves": plots.learning_curves(runs, appearance=self.appearance)}
        if self.activations:
            look = self.appearance
            figures["activation_functions"] = plots.activation_functions(appearance=look)
        folder = self.out or default
        make_folder("--out", folder)
        for name, figure in figures.items():
            print(self._write(folder / f"{name}.{self.format}", figure))

    def _plot_run(self, run: Run) -> dict[str, Figure]:
        model, test, look = run.model, run.test, self.appearance
        figures = {"learning_curves": plots.learning_curves(run.history, appearance=look)}
        if isinstance(model, SoftmaxClassifier):
            figures |= _plot_classification(model, test, look)
        elif isinstance(model, MultilabelClassifier):
            figures |= _plot_labels(model, test, look)
        else:
            figures |= _plot_regression(model, test, look)
        if len(model.input_shape) > 1 and model.input_shape[:-2] in ((), (1,)):  # gray images
            figures["first_layer_weights"] = plots.first_layer_weights(model, appearance=look)
        if run.layer_health:
            figures["layer_health"] = plots.layer_health(run.layer_health, appearance=look)
        if len(model.network.layers):
            x = model.standardize(test.inputs[:_NUM_MEASURED])
            statistics = activation_statistics(model.network, x)
            figures["layers"] = plots.layer_health(statistics, appearance=look)
        return figures

    def _write(self, path: Path, figure: Figure) -> Path:
        return write_atomically(path, lambda file: figure.savefig(file, format=self.format))


def _plot_classification(
    model: SoftmaxClassifier, test: LabeledTensors, look: plots.Appearance
) -> dict[str, Figure]:
    probabilities = model.predict_proba(test.inputs)
    figures = {"confusion_matrix": plots.confusion_matrix(model.evaluate(test), appearance=look)}
    if test.inputs.ndim in (3, 4):  # images
        figures["worst_mistakes"] = plots.worst_mistakes(model, test, appearance=look)
    figures["calibration"] = plots.calibration(probabilities, test.targets, appearance=look)
    return figures


def _plot_labels(
    model: MultilabelClassifier, test: LabeledTensors, look: plots.Appearance
) -> dict[str, Figure]:
    both = model.predict_proba(test.inputs), test.targets
    names = model.classes
    return {
        "roc_curves": plots.roc_curves(*both, classes=names, appearance=look),
        "precision_recall_curves": plots.precision_recall_curves(
            *both, classes=names, appearance=look
        ),
        "calibration": plots.calibration(*both, appearance=look),
    }


def _plot_regression(
    model: Regressor, test: LabeledTensors, look: plots.Appearance
) -> dict[str, Figure]:
    both = model.predict(test.inputs), test.targets
    names = model.target_names
    return {
        "predicted_against_true": plots.predicted_against_true(
            *both, target_names=names, appearance=look
        ),
        "residuals": plots.residuals(*both, target_names=names, appearance=look),
    }


def _read_history(folder: Path) -> History:
    """Read the history of a run and none of its other files."""
    path = RunFolder(folder).history_json
    if not path.exists():
        rule = "the folder of a run that mlpkit train has finished"
        raise ConfigError(error_message("RUN", rule, str(folder), f"there is no {path.name} in it"))
    return History.load_json(path)
