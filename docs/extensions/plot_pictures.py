"""Draw a light and a dark picture of every plot for its page in the reference and the gallery.

The pictures are in ``docs/_static/plots``. They are drawn when the site is built without them, or
by ``python docs/extensions/plot_pictures.py``.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import torch
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.typing import ExtensionMetadata

from mlpkit import MultilabelClassifier, Regressor, SoftmaxClassifier, Trainer, TrainerConfig, plots
from mlpkit.data import LabeledTensors, Splits, digits
from mlpkit.nn import ActivationStatistics, MLPOptions, activation_statistics
from mlpkit.training import Callback, EpochRow, FitResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = Path(__file__).parents[1] / "_static" / "plots"

#: What the picture of each plot shows, for people who do not see it.
ALTERNATIVE_TEXTS = {
    "activation_functions": "Seven activation functions with their derivatives",
    "calibration": "Accuracy against confidence of a classifier of digits, with 95 % intervals",
    "confusion_matrix": "Confusion matrix of a classifier of digits",
    "first_layer_weights": "The weights of the hidden units of the first layer as images",
    "layer_health": "Saturated values, dead units and gradient gain of three layers over 20 epochs",
    "learning_curves": "Loss and validation error of two networks over 20 epochs",
    "precision_recall_curves": "Precision against recall of three labels",
    "predicted_against_true": "Predicted against true values of a regression, along the diagonal",
    "residuals": "Residuals of a regression against its predictions, with their histogram",
    "roc_curves": "True positive rate against false positive rate of three labels",
    "worst_mistakes": "Digits that a network gets wrong, with true and predicted class",
}


def drawing_functions() -> list[str]:
    """Return the public functions of ``mlpkit.plots`` that return a figure."""
    functions = {name: getattr(plots, name) for name in plots.__all__}
    return [
        name
        for name, function in functions.items()
        if inspect.isfunction(function) and function.__annotations__["return"] == "Figure"
    ]


class LayerHealth(Callback):
    """Measures the hidden layers after each epoch."""

    def __init__(self, inputs: torch.Tensor) -> None:
        self.inputs = inputs
        self.found: dict[int, ActivationStatistics] = {}

    def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:
        """Measure."""
        model = typing.cast("SoftmaxClassifier", trainer.model)
        x = model.standardize(self.inputs)
        self.found[row.epoch + 1] = activation_statistics(model.network, x)


def train_digits(
    splits: Splits, activation: typing.Literal["relu", "sigmoid"], *callbacks: Callback
) -> tuple[SoftmaxClassifier, FitResult]:
    """Return a small classifier of the 8x8 digits and the result of its run."""
    model = SoftmaxClassifier.for_data(
        splits.train,
        (64, 64, 64),
        MLPOptions(activation=activation),
        generator=torch.Generator().manual_seed(0),
    )
    config = TrainerConfig(epochs=20, batch_size=64, progress=False)
    return model, Trainer(model, config, callbacks=callbacks).fit(splits.train, splits.val)


def labels_of(data: LabeledTensors) -> LabeledTensors:
    """Return the digits with three labels each instead of a class."""
    rows = [[digit % 2 == 0, digit > 4, digit in (0, 6, 8, 9)] for digit in range(10)]
    labels = torch.tensor(rows, dtype=torch.float32)[data.targets]
    return LabeledTensors(data.inputs, labels, ("even", "above 4", "has a loop"))


def regression() -> tuple[torch.Tensor, torch.Tensor]:
    """Return predictions and true values of a noisy function of two variables."""
    generator = torch.Generator().manual_seed(0)
    inputs = 4 * torch.rand(1_000, 2, generator=generator) - 2
    noise = 0.2 * torch.randn(1_000, generator=generator)
    targets = inputs[:, 0].sin() + inputs[:, 1].square() + noise
    train, test = LabeledTensors(inputs, targets).split([700, 300])
    model = Regressor.for_data(train, (32, 32), generator=torch.Generator().manual_seed(0))
    Trainer(model, TrainerConfig(epochs=40, progress=False)).fit(train)
    return model.predict(test.inputs), test.targets


def drawings() -> Mapping[str, Callable[..., Figure]]:
    """Train the networks, and return a function that draws each plot in an appearance."""
    splits = digits()
    health = LayerHealth(splits.train.inputs[:500])
    model, of_relu = train_digits(splits, "relu")
    _, of_sigmoid = train_digits(splits, "sigmoid", health)
    probabilities = model.predict_proba(splits.test.inputs)

    train, test = labels_of(splits.train), labels_of(splits.test)
    of_labels = MultilabelClassifier.for_data(
        train, (4,), generator=torch.Generator().manual_seed(0)
    )
    Trainer(of_labels, TrainerConfig(epochs=5, progress=False)).fit(train)
    label_probabilities = of_labels.predict_proba(test.inputs)

    predicted, true = regression()
    histories = {"relu": of_relu.history, "sigmoid": of_sigmoid.history}
    part = functools.partial
    labels = {"probabilities": label_probabilities, "targets": test.targets}
    return {
        "activation_functions": plots.activation_functions,
        "calibration": part(plots.calibration, probabilities, splits.test.targets, num_bins=10),
        "confusion_matrix": part(plots.confusion_matrix, model.evaluate(splits.test)),
        "first_layer_weights": part(plots.first_layer_weights, model),
        "layer_health": part(plots.layer_health, health.found),
        "learning_curves": part(plots.learning_curves, histories),
        "precision_recall_curves": part(
            plots.precision_recall_curves, **labels, classes=test.classes
        ),
        "predicted_against_true": part(plots.predicted_against_true, predicted, true),
        "residuals": part(plots.residuals, predicted, true),
        "roc_curves": part(plots.roc_curves, **labels, classes=test.classes),
        "worst_mistakes": part(plots.worst_mistakes, model, splits.test, count=15),
    }


def pictures(name: str) -> dict[typing.Literal["light", "dark"], Path]:
    """Return the files of the two pictures of a plot."""
    return {"light": FOLDER / f"{name}.svg", "dark": FOLDER / f"{name}-dark.svg"}


def draw() -> None:
    """Write both pictures of every plot."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    functions = drawings()
    with mpl.rc_context():
        mpl.rcdefaults()  # not the settings of the pages that are notebooks
        mpl.rcParams["svg.hashsalt"] = "mlpkit"
        for name in drawing_functions():
            for appearance, path in pictures(name).items():
                figure = functions[name](appearance=appearance)
                figure.savefig(path, metadata={"Date": None})


def draw_missing(app: Sphinx, config: Config) -> None:
    """Draw the pictures unless all are there, and tell the templates which plots have one."""
    del app
    names = drawing_functions()
    if not all(path.exists() for name in names for path in pictures(name).values()):
        draw()
    context = {"pictures": {name: ALTERNATIVE_TEXTS[name] for name in names}}
    config.autosummary_context = {**config.autosummary_context, **context}


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the step, which precedes the pages that autosummary writes."""
    app.connect("config-inited", draw_missing)
    return ExtensionMetadata(parallel_read_safe=True, parallel_write_safe=True)


if __name__ == "__main__":
    draw()
