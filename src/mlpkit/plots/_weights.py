"""What the first layer looks for, as pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mlpkit._checks import check_int, error_message
from mlpkit.models import SoftmaxClassifier
from mlpkit.plots._style import BLUE, VERMILLION, Appearance, blend, dress, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FirstLayerPictures", "first_layer_pictures", "first_layer_weights"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FirstLayerPictures:
    """Rows of the first weight matrix in the shape of an input, (rows, H, W), and what they are."""

    pictures: npt.NDArray[np.float32]
    title: str


def first_layer_pictures(model: SoftmaxClassifier, count: int) -> FirstLayerPictures:
    """Return the first rows of the first weight matrix as pictures, at most ``count``.

    Raises:
        ValueError: If the inputs of the model are no gray pictures, or ``count`` is not positive.
    """
    shape = model.input_shape[1:] if model.input_shape[:-2] == (1,) else model.input_shape
    if len(shape) != 2:
        cure = "only weights on gray pictures can be drawn"
        raise ValueError(error_message("model.input_shape", "(H, W)", model.input_shape, cure))
    layers = model.network.layers
    linear = layers[0].linear if len(layers) else model.network.head
    assert linear is not None, "a classifier has an output layer"
    rows = linear.weight.detach().cpu().float()
    shown = rows[: check_int("count", count, minimum=1)].reshape(-1, *shape).numpy()
    if not len(layers):
        title = "Template of each class: " + ", ".join(model.classes[: len(shown)])
    else:
        rows_of_a_unit = len(rows) // layers[0].out_features
        of = f"{len(shown)} of {len(rows):,}"
        title = f"Weights of the first layer, {of} " + (
            "units" if rows_of_a_unit == 1 else f"rows, {rows_of_a_unit} for each unit"
        )
    return FirstLayerPictures(pictures=shown, title=title)


def first_layer_weights(
    model: SoftmaxClassifier, *, count: int = 48, appearance: Appearance = "light"
) -> Figure:
    """Draw the weights into the first units, each in the shape of an input picture.

    Blue weights want ink, orange ones want none; 0 has the color of the paper. All pictures share
    one scale, symmetric about 0, that ends at the largest of them. A model without hidden layers
    shows the template of each class.

    Args:
        model: A classifier of pictures, with ``input_shape`` ``(H, W)`` or ``(1, H, W)``.
        count: How many rows of the weight matrix at most, from the first one on; a Maxout unit has
            one for each piece.
        appearance: ``"light"`` or ``"dark"`` paper.

    Raises:
        ValueError: If the inputs of the model are no gray pictures, or ``count`` is not positive.
        MissingDependencyError: If matplotlib is not installed.

    Example:
        >>> from mlpkit import SoftmaxClassifier
        >>> from mlpkit.data import digits
        >>> from mlpkit.plots import first_layer_weights
        >>> model = SoftmaxClassifier.for_data(digits().train, (12,))
        >>> figure = first_layer_weights(model)
        >>> figure.axes[0].get_title(loc="left")
        'Weights of the first layer, 12 of 12 units'
    """
    found = first_layer_pictures(model, count)
    shown = found.pictures
    columns = math.ceil(math.sqrt(4 / 3 * len(shown)))
    mosaic = _mosaic(shown, columns)
    limit = float(np.abs(shown).max()) or 1.0
    height = 6.1 * mosaic.shape[0] / mosaic.shape[1] + 0.45
    figure, look = new_figure(7.4, height, appearance)
    axes = figure.subplots()
    image = axes.imshow(mosaic, cmap=blend(VERMILLION, look.paper, BLUE), vmin=-limit, vmax=limit)
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("weight", color=look.ink)
    bar.ax.tick_params(colors=look.quiet, labelcolor=look.ink, labelsize=9)
    bar.outline.set_visible(False)
    dress(axes, look, title=found.title, grid=False)
    axes.set_facecolor(look.grid)  # the gaps between the pictures
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


def _mosaic(pictures: npt.NDArray[np.float32], columns: int) -> npt.NDArray[np.float32]:
    """Lay pictures out in rows with a gap of one pixel, NaN, around each."""
    height, width = pictures.shape[1] + 1, pictures.shape[2] + 1
    rows = math.ceil(len(pictures) / columns)
    sheet = np.full((rows * height + 1, columns * width + 1), np.nan, dtype=np.float32)
    for index, picture in enumerate(pictures):
        top, left = index // columns * height + 1, index % columns * width + 1
        sheet[top : top + height - 1, left : left + width - 1] = picture
    return sheet
