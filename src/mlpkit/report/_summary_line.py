"""The line below the title: result, examples, network, length and date of a run."""

from __future__ import annotations

import html

from mlpkit.report._run import Run

__all__ = ["summary_line"]


def summary_line(run: Run, score: str) -> str:
    """Return two sentences as HTML: the score with its examples, and the network with its run.

    Args:
        run: The run.
        score: The main metric with its value.
    """
    count = len(run.test)
    source = f" of {run.dataset}" if run.dataset else ""
    examples = f"{count:,} test example{'s' * (count != 1)}{source}"
    return html.escape(f"{score} on {examples}. {_network(run)}") + f"{_training(run)}."


def _network(run: Run) -> str:
    """Return the sizes, the activations and the number of parameters of the network."""
    network = run.model.network
    hidden = [layer.out_features for layer in network.layers]
    sizes = " \N{RIGHTWARDS ARROW} ".join(
        str(size) for size in (network.in_features, *hidden, network.out_features)
    )
    names = list(dict.fromkeys(type(layer.activation).__name__ for layer in network.layers))
    activations = f" with {' and '.join(names)}" if names else ""
    return f"Network {sizes}{activations}, {network.num_parameters:,} parameters"


def _training(run: Run) -> str:
    """Return how long and when it was trained, as HTML; empty without a history and a time."""
    epochs = run.history[-1].epoch + 1 if len(run.history) else 0
    length = f" for {epochs:,} epoch{'s' * (epochs != 1)}" if epochs else ""
    date = "" if run.started is None else f" on <time>{run.started:%Y-%m-%d}</time>"
    return f", trained{length}{date}" if length or date else ""
