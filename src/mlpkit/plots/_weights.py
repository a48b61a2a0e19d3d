"""The weights of the first layer as images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mlpkit._checks import check_int, error_message
from mlpkit.models import MultilabelClassifier, Regressor, SoftmaxClassifier
from mlpkit.plots._style import (
    BLUE,
    VERMILLION,
    Appearance,
    add_colorbar,
    blend,
    new_figure,
    style_axes,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FirstLayerImages", "first_layer_images", "first_layer_weights"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FirstLayerImages:
    """Rows of the first weight matrix as images.

    Attributes:
        images: The weights, float32 of shape ``(rows, H, W)``.
        title: A description of the rows.
    """

    images: npt.NDArray[np.float32]
    title: str


def first_layer_images(
    model: SoftmaxClassifier | MultilabelClassifier | Regressor, *, count: int = 48
) -> FirstLayerImages:
    """Return the first rows of the first weight matrix, each in the shape of an input image.

    Without hidden layers, the rows are the weights of the classes, labels or targets.

    Args:
        model: A model of images, with ``input_shape`` ``(H, W)`` or ``(1, H, W)``.
        count: Maximum number of rows; a Maxout unit has one row per piece.

    Raises:
        ValueError: If the inputs of the model are not gray images, or ``count`` is not positive.

    Example:
        >>> from mlpkit import SoftmaxClassifier
        >>> from mlpkit.data import digits
        >>> from mlpkit.plots import first_layer_images
        >>> model = SoftmaxClassifier.for_data(digits().train, (12,))
        >>> first_layer_images(model, count=5).images.shape
        (5, 8, 8)
    """
    shape = model.input_shape[1:] if model.input_shape[:-2] == (1,) else model.input_shape
    if len(shape) != 2:
        cure = "use a model of gray images"
        raise ValueError(error_message("model.input_shape", "(H, W)", model.input_shape, cure))
    layers = model.network.layers
    linear = layers[0].linear if len(layers) else model.network.head
    assert linear is not None, "a model has an output layer"
    rows = linear.weight.detach().cpu().float()
    shown = rows[: check_int("count", count, minimum=1)].reshape(-1, *shape).numpy()
    if not len(layers):
        title = _title_of_outputs(model, len(shown))
    else:
        rows_per_unit = len(rows) // layers[0].out_features
        title = f"Weights of the first layer, {len(shown)} of {len(rows):,} " + (
            "units" if rows_per_unit == 1 else f"rows, {rows_per_unit} per unit"
        )
    return FirstLayerImages(images=shown, title=title)


def _title_of_outputs(
    model: SoftmaxClassifier | MultilabelClassifier | Regressor, count: int
) -> str:
    """Return the title of the first weights of a model without hidden layers."""
    if isinstance(model, Regressor):
        if model.target_names is None or model.predicts_std:
            return f"Weights of the outputs, {count} of {model.network.out_features}"
        return "Weights of the targets " + ", ".join(model.target_names[:count])
    kind = "labels" if isinstance(model, MultilabelClassifier) else "classes"
    return f"Weights of the {kind} " + ", ".join(model.classes[:count])


def first_layer_weights(
    model: SoftmaxClassifier | MultilabelClassifier | Regressor,
    *,
    count: int = 48,
    appearance: Appearance = "light",
) -> Figure:
    """Plot the rows of the first weight matrix, each in the shape of an input image.

    Blue weights are positive, orange ones negative; 0 has the color of the background. All images
    share one scale, which is symmetric about 0 and ends at the largest absolute weight. For a model
    without hidden layers, the plot shows the weights of the classes, labels or targets.

    Args:
        model: A model of images, with ``input_shape`` ``(H, W)`` or ``(1, H, W)``.
        count: Maximum number of rows, from the first one on; a Maxout unit has one row per piece.
        appearance: ``"light"`` or ``"dark"`` background.

    Raises:
        ValueError: If the inputs of the model are not gray images, or ``count`` is not positive.
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
    found = first_layer_images(model, count=count)
    columns = math.ceil(math.sqrt(4 / 3 * len(found.images)))
    mosaic = _mosaic(found.images, columns)
    limit = float(np.abs(found.images).max()) or 1.0
    height = 6.1 * mosaic.shape[0] / mosaic.shape[1] + 0.45
    figure, look = new_figure(7.4, height, appearance)
    from matplotlib.patches import Rectangle

    axes = figure.subplots()
    image = axes.imshow(mosaic, cmap=blend(VERMILLION, look.paper, BLUE), vmin=-limit, vmax=limit)
    add_colorbar(figure, axes, image, look, label="weight")
    style_axes(axes, look, title=found.title, frame=False)
    axes.set_facecolor(look.grid)  # the gaps between the images
    if unused := -len(found.images) % columns:
        height, width = (size + 1 for size in found.images.shape[1:])
        corner = (columns - unused) * width + 0.5, mosaic.shape[0] - height - 0.5
        axes.add_patch(Rectangle(corner, unused * width, height, color=look.paper, linewidth=0))
    axes.set_xticks([])
    axes.set_yticks([])
    return figure


def _mosaic(images: npt.NDArray[np.float32], columns: int) -> npt.NDArray[np.float32]:
    """Arrange images in a grid, with a border of one pixel of NaN around each."""
    height, width = images.shape[1] + 1, images.shape[2] + 1
    rows = math.ceil(len(images) / columns)
    sheet = np.full((rows * height + 1, columns * width + 1), np.nan, dtype=np.float32)
    for index, image in enumerate(images):
        top, left = index // columns * height + 1, index % columns * width + 1
        sheet[top : top + height - 1, left : left + width - 1] = image
    return sheet
