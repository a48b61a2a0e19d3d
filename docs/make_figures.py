"""Run the guides and write the plots that they draw: `python docs/make_figures.py`."""

from __future__ import annotations

import argparse
import doctest
import functools
import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mlpkit import plots

GUIDES = Path(__file__).parent / "how-to"
#: The file of each figure, by its expression on a page.
FIGURES = {
    "looking-at-a-network": {
        "curves": "learning_curves_of_two",
        "confusion": "confusion_matrix",
        "mistakes": "worst_mistakes",
        "reliability": "calibration",
        "weights": "first_layer_weights",
        "functions": "activation_functions",
        "over_epochs": "layer_health_over_epochs",
    },
    "table-tutorial": {
        "figure": "permutation_importance",
        "display.figure_": "partial_dependence",
    },
}


def plots_with(appearance: str) -> SimpleNamespace:
    """Return the functions of ``mlpkit.plots`` with another default appearance."""
    functions = {name: getattr(plots, name) for name in plots.__all__}
    return SimpleNamespace(
        **{
            name: functools.partial(function, appearance=appearance)
            for name, function in functions.items()
            if inspect.isfunction(function)
        }
    )


def run(page: str, appearance: str) -> dict[str, Any]:
    """Run the examples of a page, and return its variables."""
    names: dict[str, Any] = {}
    text = (GUIDES / f"{page}.md").read_text(encoding="utf-8")
    for example in doctest.DocTestParser().get_examples(text):
        if "plt.close" not in example.source:
            exec(example.source, names)  # noqa: S102 - a page of this repository
        if "plots" in names:
            names["plots"] = plots_with(appearance)
    return names


def main() -> None:
    """Write the figures of each page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("_static"))
    parser.add_argument("--appearance", choices=("light", "dark"), default="light")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for page, figures in FIGURES.items():
        names = run(page, options.appearance)
        for expression, file in figures.items():
            figure = eval(expression, names)  # noqa: S307 - written above
            figure.savefig(options.out / f"{file}.png", metadata={"Software": None})


if __name__ == "__main__":
    main()
