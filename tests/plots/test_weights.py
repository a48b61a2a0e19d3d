"""The weights of the first layer as images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from mlpkit import MLP, MultilabelClassifier, Regressor, SoftmaxClassifier
from mlpkit.data import digits
from mlpkit.nn import ActivationConfig, MLPOptions
from mlpkit.plots import first_layer_images, first_layer_weights


@pytest.mark.parametrize("count", [5, 48])
@pytest.mark.parametrize("hidden", [(12,), ()])
def test_each_tile_is_a_row_of_the_matrix(hidden: tuple[int, ...], count: int) -> None:
    """The tiles are in order with NaN between them, on a scale symmetric about 0."""
    model = SoftmaxClassifier.for_data(digits().train, hidden)
    first = model.network.layers[0].linear if hidden else model.network.head
    assert first is not None
    rows = first.weight.detach()[:count].reshape(-1, 8, 8)
    np.testing.assert_array_equal(first_layer_images(model, count=count).images, rows)
    axes = first_layer_weights(model, count=count).axes[0]
    (image,) = axes.get_images()
    sheet: npt.NDArray[np.float32] = np.ma.filled(np.ma.asarray(image.get_array()), np.nan)
    columns = sheet.shape[1] // 9
    for index, row in enumerate(rows):
        top, left = index // columns * 9 + 1, index % columns * 9 + 1
        np.testing.assert_array_equal(sheet[top : top + 8, left : left + 8], row)
    assert np.isfinite(sheet).sum() == rows.numel()
    limit = float(rows.abs().max())
    assert image.get_clim() == pytest.approx((-limit, limit))
    total = 12 if hidden else 10
    expected = (
        f"Weights of the first layer, {min(count, total)} of {total} units"
        if hidden
        else "Weights of the classes " + ", ".join("0123456789"[:count])
    )
    assert axes.get_title(loc="left") == expected


def test_zero_has_the_color_of_the_background() -> None:
    """A weight of 0 is invisible."""
    model = SoftmaxClassifier.for_data(digits().train, (4,))
    torch.nn.init.zeros_(model.network.layers[0].linear.weight)
    figure = first_layer_weights(model, appearance="dark")
    (image,) = figure.axes[0].get_images()
    np.testing.assert_allclose(
        image.to_rgba(np.zeros(1))[0], to_rgba(figure.get_facecolor()), atol=0.02
    )


def test_an_incomplete_row_ends_with_the_background() -> None:
    """The places without an image have the color of the paper, up to the edge of the plot."""
    model = SoftmaxClassifier.for_data(digits().train, (12,))
    for count, unused in ((5, 1), (12, 0)):
        axes = first_layer_weights(model, count=count).axes[0]
        assert len(axes.patches) == bool(unused)
        for patch in axes.patches:
            assert isinstance(patch, Rectangle)
            (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
            assert (patch.get_width(), patch.get_height()) == (9 * unused, 9)
            assert patch.get_xy() == (right - 9 * unused, bottom - 9)
            assert patch.get_facecolor() == axes.figure.get_facecolor()
            assert left == top == -0.5


def test_inputs_that_are_not_images_raise() -> None:
    """A model of feature vectors has no image shape."""
    model = SoftmaxClassifier(MLP(4, (3,), 2), classes=("a", "b"))
    with pytest.raises(ValueError, match=r"model.input_shape must be \(H, W\), got \(4,\)"):
        first_layer_weights(model)


def test_the_title_of_each_kind_of_model() -> None:
    """Without hidden layers, the weights are those of labels, targets or outputs."""
    network, shape = MLP(6, (), 2), (2, 3)
    names = ("a", "b")
    labels = MultilabelClassifier(network, classes=names, input_shape=shape)
    assert first_layer_images(labels).title == "Weights of the labels a, b"
    targets = Regressor(network, target_shape=(2,), target_names=names, input_shape=shape)
    assert first_layer_images(targets, count=1).title == "Weights of the targets a"
    unnamed = Regressor(network, target_shape=(2,), input_shape=shape)
    assert first_layer_images(unnamed).title == "Weights of the outputs, 2 of 2"
    uncertain = Regressor(network, predicts_std=True, target_names=("a",), input_shape=shape)
    assert first_layer_images(uncertain).title == "Weights of the outputs, 2 of 2"


def test_the_title_counts_the_rows_of_a_unit() -> None:
    """A Maxout unit of three pieces has three rows."""
    model = SoftmaxClassifier.for_data(
        digits().train, (4,), MLPOptions(activation=ActivationConfig("maxout", num_pieces=3))
    )
    title = first_layer_weights(model, count=5).axes[0].get_title(loc="left")
    assert title == "Weights of the first layer, 5 of 12 rows, 3 per unit"
