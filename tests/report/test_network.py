"""Weights as transparent pictures, layers as a table and as lines."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from mlpkit.nn import MLP, ActivationStatistics, activation_statistics
from mlpkit.plots._weights import FirstLayerPictures
from mlpkit.report._network import layer_charts, layer_table, weight_pictures


def measured(scale: float) -> ActivationStatistics:
    """Return the statistics of three layers, the more saturated the larger the scale."""
    generator = torch.Generator().manual_seed(0)
    model = MLP(4, (8, 6, 5), 2, activation="sigmoid", generator=generator)
    return activation_statistics(model, scale * torch.randn(64, 4, generator=generator))


def test_the_size_of_a_weight_is_the_opacity_and_its_sign_the_hue() -> None:
    """0 is transparent; what is beyond 99.5 % of the weights has full color."""
    pictures = np.linspace(-1, 1, 400, dtype=np.float32).reshape(4, 10, 10)
    limit = np.quantile(np.abs(pictures), 0.995)
    text = weight_pictures(FirstLayerPictures(pictures=pictures, title="<of a test>"))
    assert "&lt;of a test&gt;" in text
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    assert len(found) == 4
    for data, picture in zip(found, pictures, strict=True):
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).astype(int)
        opacity = np.clip(np.abs(picture) / limit, 0, 1) * 255
        np.testing.assert_allclose(pixels[..., 3], opacity, atol=0.51)
        np.testing.assert_array_equal(pixels[..., 2] > pixels[..., 0], picture > 0)
    assert "<img" in weight_pictures(FirstLayerPictures(pictures=0 * pictures, title=""))


def test_the_table_holds_the_statistics() -> None:
    """A row for each layer, figures rounded."""
    statistics = measured(3.0)
    rows = re.findall(r"<tr>(.*?)</tr>", layer_table(statistics))[1:]
    for row, layer in zip(rows, statistics.layers, strict=True):
        cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)
        assert cells == [
            layer.name,
            "Sigmoid()",
            f"{layer.mean:.2f}",
            f"{layer.std:.2f}",
            f"{100 * layer.saturated:.1f} %",
            f"{100 * layer.dead:.1f} %",
            f"{layer.gradient_gain:.2f}",
        ]


def test_the_charts_hold_the_statistics() -> None:
    """Lines as high as the values are, layers from rank 0 to 1, epochs in their order."""
    several = {9: measured(9.0), 0: measured(0.1), 3: measured(3.0)}
    text = layer_charts(several)
    charts = re.findall(r"<svg.*?</svg>", text)
    assert len(charts) == 3
    lines = re.findall(r'style="--rank:([^"]+)" points="([^"]+)"', charts[0])
    assert [float(rank) for rank, _ in lines] == [0.0, 0.5, 1.0]
    found = [[float(pair.split(",")[1]) for pair in points.split()] for _, points in lines]
    shares = [[several[e].layers[i].saturated for e in (0, 3, 9)] for i in range(3)]
    # the y axis of a picture goes down: height is an affine function of the share
    slope, offset = np.polyfit(np.ravel(shares), np.ravel(found), 1)
    assert slope < 0
    np.testing.assert_allclose(slope * np.array(shares) + offset, found, atol=0.1)
    assert shares[0][0] < shares[0][1] < shares[0][2]
    assert re.findall(r"(layers\.\d)</span>", text) == ["layers.0", "layers.1", "layers.2"]


@pytest.mark.parametrize("hidden", [(3,), (4, 4)])
def test_nothing_dead_is_a_line_at_the_bottom(hidden: tuple[int, ...]) -> None:
    """All zeros have an axis too."""
    model = MLP(2, hidden, 2, activation="identity")
    found = activation_statistics(model, torch.randn(9, 2))
    assert "nan" not in layer_charts({0: found, 1: found})
