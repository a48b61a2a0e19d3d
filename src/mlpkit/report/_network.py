"""The sections that look into the network: weights as pictures, layers one by one and over time."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from mlpkit.nn import ActivationStatistics
from mlpkit.plots._weights import FirstLayerPictures
from mlpkit.report._charts import Line, line_chart

__all__ = ["layer_charts", "layer_table", "weight_pictures"]

# Those of mlpkit.plots: told apart whatever the color vision, on light paper and on dark.
_WANTS_INK = (0, 114, 178)
_WANTS_NONE = (213, 94, 0)


def weight_pictures(found: FirstLayerPictures) -> str:
    """Return the pictures as HTML, with what their colors mean.

    A weight of 0 is transparent, so that it has the color of the page, light or dark.
    """
    # The few largest would leave the others pale.
    limit = float(np.quantile(np.abs(found.pictures), 0.995)) or 1.0
    pictures = "".join(
        f'<img alt="weights {index}" src="{_png((picture / limit).clip(-1, 1))}">'
        for index, picture in enumerate(found.pictures)
    )
    words = (
        f'<p class="legend">{html.escape(found.title)}. Blue wants ink, orange wants none; full '
        f"color from a weight of {limit:.2g} on</p>"
    )
    return f'<div class="weights">{pictures}</div>{words}'


def _png(picture: npt.NDArray[np.float32]) -> str:
    """Return weights in [-1, 1] as the address of a picture: the sign is hue, the size opacity."""
    from PIL import Image

    pixels = np.empty((*picture.shape, 4), dtype=np.uint8)
    pixels[..., :3] = np.where(picture[..., None] > 0, _WANTS_INK, _WANTS_NONE)
    pixels[..., 3] = np.round(255 * np.abs(picture))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def layer_table(statistics: ActivationStatistics) -> str:
    """Return a table of what each hidden layer does, with the words that explain it."""
    spare = ' class="spare"'  # left out on a telephone
    head = "".join(
        f"<th{spare if name in ('mean', 'std') else ''}>{name}</th>"
        for name in ("activation", "mean", "std", "saturated", "dead", "gain")
    )
    rows = "".join(
        f'<tr><th scope="row">{html.escape(layer.name)}</th>'
        f"<td>{html.escape(layer.activation)}</td><td{spare}>{layer.mean:.2f}</td>"
        f"<td{spare}>{layer.std:.2f}</td>"
        f"<td>{100 * layer.saturated:.1f} %</td><td>{100 * layer.dead:.1f} %</td>"
        f"<td>{layer.gradient_gain:.2f}</td></tr>"
        for layer in statistics.layers
    )
    words = (
        f'<p class="legend">the trained network on {statistics.num_examples:,} test examples. '
        f"Saturated: values whose derivative is below {statistics.threshold:g}; dead: units whose "
        "derivative is 0 for every example; gain: what the activation does to the size "
        "of a gradient on its way back</p>"
    )
    table = f'<table class="classes"><tr><th>layer</th>{head}</tr>{rows}</table>'
    return f'<div class="scroll">{table}</div>{words}'


def layer_charts(measured: Mapping[int, ActivationStatistics]) -> str:
    """Return three charts of a line for each layer, and their key."""
    epochs = sorted(measured)
    names = [layer.name for layer in measured[epochs[0]].layers]
    ranks = [index / max(1, len(names) - 1) for index in range(len(names))]
    columns = (
        ("Saturated values", "saturated", 100.0, "share of all values [%]"),
        ("Dead units", "dead", 100.0, "share of all units [%]"),
        ("Gradient gain", "gradient_gain", 1.0, "gradient gain [1]"),
    )
    charts = []
    for title, column, unit, y_label in columns:
        lines = [
            Line(
                label=name,
                points=_points(measured, epochs, index, column, unit),
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
    words = f"<span>measured on {count:,} examples while the network trained</span>"
    return f'<div class="three">{"".join(charts)}</div><p class="legend">{keys}{words}</p>'


def _points(
    measured: Mapping[int, ActivationStatistics],
    epochs: Sequence[int],
    layer: int,
    column: str,
    unit: float,
) -> list[tuple[float, float]]:
    return [
        (float(epoch), unit * float(getattr(measured[epoch].layers[layer], column)))
        for epoch in epochs
    ]
