"""The sections about the network: first layer as images, hidden layers, summary."""

from __future__ import annotations

import html
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from mlpkit.models import SoftmaxClassifier, find_pooling
from mlpkit.nn import ActivationStatistics, Summary, activation_statistics
from mlpkit.plots import FirstLayerImages, first_layer_images
from mlpkit.report._activation_notes import activation_notes, saturation_word
from mlpkit.report._charts import Line, line_chart
from mlpkit.report._run import Run
from mlpkit.report._sections import png_url, section, table

__all__ = ["layer_charts", "layer_table", "network_sections", "weight_images"]

_NUM_WEIGHTS = 48
_NUM_MEASURED = 1000  # examples for the activation statistics

# The colors of mlpkit.plots, distinguishable with every type of color vision on any background.
_POSITIVE = (0, 114, 178)
_NEGATIVE = (213, 94, 0)


def network_sections(run: Run) -> tuple[str, ...]:
    """Return the sections about the network of a run; empty ones for what it does not have."""
    summary = _summary_table(run.model.network.summary())
    network = section("Network", summary + _pooling_note(run))
    return _first_layer(run), _hidden_layers(run), network


def _summary_table(summary: Summary) -> str:
    """Return a table with a row for each layer and the total."""
    head = '<th>layer</th><th class="left">operations</th><th>output</th><th>parameters</th>'
    rows = [
        f'<tr><th scope="row">{html.escape(row.name)}</th>'
        f'<td class="left">{html.escape(row.operations)}</td>'
        f"<td>{row.output_features:,}</td><td>{row.num_parameters:,}</td></tr>"
        for row in summary.rows
    ]
    total = f"<td></td><td></td><td>{summary.num_parameters:,}</td>"
    return table(head, [*rows, f'<tr><th scope="row">total</th>{total}</tr>'])


def _pooling_note(run: Run) -> str:
    """Return why the network has more parameters than were trained; empty if it has not."""
    pooling = find_pooling(run.model) if isinstance(run.model, SoftmaxClassifier) else None
    if pooling is None:
        return ""
    block = f"{pooling.factor} \N{MULTIPLICATION SIGN} {pooling.factor}"
    return (
        f'<p class="legend">The network was trained on means of {block} pixels, with '
        f"{pooling.num_parameters:,} parameters. Here the means are part of the first layer, which "
        f"takes all pixels: each of its weights occurs {pooling.factor**2} times, once for each "
        f"pixel of a block. The {run.model.network.num_parameters:,} parameters compute the same "
        "probabilities.</p>"
    )


def _first_layer(run: Run) -> str:
    try:
        found = first_layer_images(run.model, count=_NUM_WEIGHTS)
    except ValueError:  # the inputs are not gray images
        return ""
    return section("First layer", weight_images(found))


def _hidden_layers(run: Run) -> str:
    model = run.model
    if not len(model.network.layers):
        return ""
    inputs = run.test.inputs[:_NUM_MEASURED].to(model.mean.device)
    statistics = activation_statistics(model.network, model.standardize(inputs))
    charts = layer_charts(run.layer_health) if len(run.layer_health) > 1 else ""
    return section("Hidden layers", charts + layer_table(statistics))


def weight_images(found: FirstLayerImages) -> str:
    """Return the images as HTML, with a legend.

    A weight of 0 is transparent, so that it has the color of the page in light and dark mode.
    """
    # Scaled by a quantile: the few largest weights would make all others pale.
    limit = float(np.quantile(np.abs(found.images), 0.995)) or 1.0
    images = "".join(
        f'<img alt="weights {index}" src="{_png((image / limit).clip(-1, 1))}">'
        for index, image in enumerate(found.images)
    )
    legend = (
        f'<p class="legend">{html.escape(found.title)}. Blue: positive weights; orange: negative '
        f"weights; full color from an absolute weight of {limit:.2g}.</p>"
    )
    return f'<div class="weights">{images}</div>{legend}'


def _png(weights: npt.NDArray[np.float32]) -> str:
    """Return weights in [-1, 1] as the data URL of an image: hue is the sign, opacity the size."""
    from PIL import Image

    pixels = np.empty((*weights.shape, 4), dtype=np.uint8)
    pixels[..., :3] = np.where(weights[..., None] > 0, _POSITIVE, _NEGATIVE)
    pixels[..., 3] = np.round(255 * np.abs(weights))
    return png_url(Image.fromarray(pixels), optimize=True)


def layer_table(statistics: ActivationStatistics) -> str:
    """Return a table of the activation statistics of each hidden layer, with a legend."""
    spare = ' class="spare"'  # hidden on narrow screens
    head = "".join(
        f"<th{spare if name in ('mean', 'std') else ''}>{name}</th>"
        for name in ("activation", "mean", "std", saturation_word(statistics), "dead", "gain")
    )
    rows = (
        f'<tr><th scope="row">{html.escape(layer.name)}</th>'
        f"<td>{html.escape(layer.activation)}</td><td{spare}>{layer.mean:.2f}</td>"
        f"<td{spare}>{layer.std:.2f}</td>"
        f"<td>{100 * layer.saturated:.1f} %</td><td>{100 * layer.dead:.1f} %</td>"
        f"<td>{layer.gradient_gain:.2f}</td></tr>"
        for layer in statistics.layers
    )
    legend = (
        f'<p class="legend">The trained network on {statistics.num_examples:,} test examples. '
        f"A value is the output of a unit for an example. {activation_notes(statistics)} Gain: the "
        "factor by which the activation scales the size of a gradient in the backward pass.</p>"
    )
    return table(f"<th>layer</th>{head}", rows) + legend


def layer_charts(measured: Mapping[int, ActivationStatistics]) -> str:
    """Return three charts over the epochs with one line per layer, and their legend."""
    epochs = sorted(measured)
    names = [layer.name for layer in measured[epochs[0]].layers]
    ranks = [index / max(1, len(names) - 1) for index in range(len(names))]
    word = saturation_word(measured[epochs[-1]]).capitalize()
    columns = (
        (f"{word} values", "saturated", 100.0, "share of all values [%]"),
        ("Dead units", "dead", 100.0, "share of all units [%]"),
        ("Gradient gain", "gradient_gain", 1.0, "gradient gain [1]"),
    )
    charts = []
    for title, column, unit, y_label in columns:
        lines = [
            Line(
                label=name,
                points=[
                    (float(epoch), unit * float(getattr(measured[epoch].layers[index], column)))
                    for epoch in epochs
                ],
                style="layer",
                rank=rank,
            )
            for index, (name, rank) in enumerate(zip(names, ranks, strict=True))
        ]
        chart = line_chart(
            lines,
            title=f"{title} over the epochs",
            x_label="epochs",
            y_label=y_label,
            whole_x=True,
            small=True,
            y_range=None if any(y > 0 for line in lines for _, y in line.points) else (0.0, 1.0),
        )
        charts.append(f"<div><h3>{title}</h3>{chart}</div>")
    keys = "".join(
        f'<span class="key layer" style="--rank:{rank:.3g}">{html.escape(name)}</span>'
        for name, rank in zip(names, ranks, strict=True)
    )
    count = next(iter(measured.values())).num_examples
    note = f"<span>measured on {count:,} examples during training</span>"
    return f'<div class="three">{"".join(charts)}</div><p class="legend">{keys}{note}</p>'
