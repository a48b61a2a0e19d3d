"""Write the plots of the guides into docs/_static: `python docs/make_figures.py`."""

from __future__ import annotations

import argparse
import doctest
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from mlpkit import SoftmaxClassifier, Trainer, TrainerConfig, plots
from mlpkit.data import Splits, digits
from mlpkit.nn import ActivationName, ActivationStatistics, MLPOptions, activation_statistics
from mlpkit.training import Callback, EpochRow, FitResult

HIDDEN = (64, 64, 64)


class Health(Callback):
    """Measure the hidden layers after each epoch."""

    def __init__(self, model: SoftmaxClassifier, splits: Splits) -> None:
        self.found: dict[int, ActivationStatistics] = {}
        self._model = model
        self._inputs = splits.train.inputs[:500]

    def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:  # noqa: ARG002 - the hook
        """Store the statistics of the epoch."""
        x = self._model.standardize(self._inputs)
        self.found[row.epoch + 1] = activation_statistics(self._model.network, x)


def trained(
    activation: ActivationName, splits: Splits
) -> tuple[SoftmaxClassifier, FitResult, Health]:
    """Train a small network on the digits of the package."""
    generator = torch.Generator().manual_seed(0)
    model = SoftmaxClassifier.for_data(
        splits.train, HIDDEN, MLPOptions(activation=activation), generator=generator
    )
    health = Health(model, splits)
    config = TrainerConfig(epochs=20, batch_size=64, progress=False)
    result = Trainer(model, config, callbacks=[health]).fit(splits.train, splits.val)
    return model, result, health


def tutorial() -> dict[str, Figure]:
    """Run the tutorial on tables, and return its figures."""
    page = Path(__file__).parent / "guides" / "table-tutorial.md"
    names: dict[str, Any] = {}
    for example in doctest.DocTestParser().get_examples(page.read_text()):
        if "plt.close" not in example.source:
            exec(example.source, names)  # noqa: S102 - a page of this repository
    return {
        "permutation_importance": names["figure"],
        "partial_dependence": names["display"].figure_,
    }


def main() -> None:
    """Train the networks, draw the plots and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("_static"))
    parser.add_argument("--appearance", choices=("light", "dark"), default="light")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    splits = digits()
    relu, relu_fit, _ = trained("relu", splits)
    _, sigmoid_fit, sigmoid_health = trained("sigmoid", splits)
    test = splits.test
    look = options.appearance
    figures = {
        "learning_curves_of_two": plots.learning_curves(
            {"relu": relu_fit.history, "sigmoid": sigmoid_fit.history}, appearance=look
        ),
        "confusion_matrix": plots.confusion_matrix(
            Trainer(relu, TrainerConfig(progress=False)).evaluate(test), appearance=look
        ),
        "worst_mistakes": plots.worst_mistakes(relu, test, count=15, appearance=look),
        "calibration": plots.calibration(
            relu.predict_proba(test.inputs), test.targets, num_bins=10, appearance=look
        ),
        "first_layer_weights": plots.first_layer_weights(relu, appearance=look),
        "activation_functions": plots.activation_functions(appearance=look),
        "layer_health_over_epochs": plots.layer_health(sigmoid_health.found, appearance=look),
        **tutorial(),
    }
    for name, figure in figures.items():
        figure.savefig(options.out / f"{name}.png", metadata={"Software": None})


if __name__ == "__main__":
    main()
