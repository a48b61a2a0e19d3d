"""Weights as images, layer statistics as a table and as charts."""

from __future__ import annotations

import base64
import html
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image
from tests.report.kinds import regression_example

from mlpkit import Regressor, SoftmaxClassifier
from mlpkit.data import LabeledTensors, avg_pool
from mlpkit.models import unpooled
from mlpkit.nn import MLP, ActivationStatistics, activation_statistics
from mlpkit.plots import FirstLayerImages
from mlpkit.report import Run
from mlpkit.report._network import layer_charts, layer_table, network_sections, weight_images
from mlpkit.training import History


def measured(scale: float) -> ActivationStatistics:
    """Return the statistics of three layers, which are more saturated for a larger scale."""
    generator = torch.Generator().manual_seed(0)
    model = MLP(4, (8, 6, 5), 2, activation="sigmoid", generator=generator)
    return activation_statistics(model, scale * torch.randn(64, 4, generator=generator))


def test_opacity_is_the_size_of_a_weight_and_hue_its_sign() -> None:
    """0 is transparent; weights above the 99.5 % quantile have full color."""
    images = np.linspace(-1, 1, 400, dtype=np.float32).reshape(4, 10, 10)
    limit = np.quantile(np.abs(images), 0.995)
    text = weight_images(FirstLayerImages(images=images, title="<of a test>"))
    assert "&lt;of a test&gt;" in text
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    assert len(found) == 4
    for data, image in zip(found, images, strict=True):
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).astype(int)
        opacity = np.clip(np.abs(image) / limit, 0, 1) * 255
        np.testing.assert_allclose(pixels[..., 3], opacity, atol=0.51)
        np.testing.assert_array_equal(pixels[..., 2] > pixels[..., 0], image > 0)
    assert "<img" in weight_images(FirstLayerImages(images=0 * images, title=""))


def test_the_table_contains_the_statistics() -> None:
    """The table has one row per layer with rounded values."""
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


def test_the_charts_contain_the_statistics() -> None:
    """Heights are proportional to the values; ranks go from 0 to 1; epochs are in order."""
    several = {9: measured(9.0), 0: measured(0.1), 3: measured(3.0)}
    text = layer_charts(several)
    charts = re.findall(r"<svg.*?</svg>", text)
    assert len(charts) == 3
    lines = re.findall(r'style="--rank:([^"]+)" points="([^"]+)"', charts[0])
    assert [float(rank) for rank, _ in lines] == [0.0, 0.5, 1.0]
    found = [[float(pair.split(",")[1]) for pair in points.split()] for _, points in lines]
    shares = [[several[e].layers[i].saturated for e in (0, 3, 9)] for i in range(3)]
    # the y axis of SVG points down; y is an affine function of the share
    slope, offset = np.polyfit(np.ravel(shares), np.ravel(found), 1)
    assert slope < 0
    np.testing.assert_allclose(slope * np.array(shares) + offset, found, atol=0.1)
    assert shares[0][0] < shares[0][1] < shares[0][2]
    assert re.findall(r"(layers\.\d)</span>", text) == ["layers.0", "layers.1", "layers.2"]


def test_the_sections_of_a_network() -> None:
    """Without images there is no first layer; without hidden layers there is only the summary."""
    model, test = regression_example(2)
    run = Run(title="", model=model, test=test, history=History())
    first, hidden, summary = network_sections(run)
    assert first == ""
    expected = activation_statistics(model.network, model.standardize(test.inputs))
    assert layer_table(expected) in hidden
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in summary.split("<tr>")[2:]]
    expected_rows = [
        [row.name, html.escape(row.operations), str(row.output_features), str(row.num_parameters)]
        for row in model.network.summary().rows
    ]
    assert rows == [*expected_rows, ["total", "", "", str(model.network.num_parameters)]]
    flat = Regressor(MLP(4, (), 1), input_shape=(2, 2))
    images = LabeledTensors(torch.rand(9, 2, 2), torch.rand(9))
    first, hidden, _ = network_sections(Run(title="", model=flat, test=images, history=History()))
    assert "Weights of the outputs, 1 of 1" in first
    assert hidden == ""


def test_the_parameters_of_a_pooled_network_are_explained() -> None:
    """The note has the number of trained parameters and that of the model, others have none."""
    images = LabeledTensors(torch.rand(9, 4, 4), torch.arange(9) % 3)
    small = SoftmaxClassifier.for_data(avg_pool(images, 2), (5,))
    full = unpooled(small, 2)
    run = Run(title="", model=full, test=images, history=History())
    _, _, summary = network_sections(run)
    assert "means of 2 \N{MULTIPLICATION SIGN} 2 pixels, with 43 parameters." in summary
    assert "occurs 4 times" in summary
    assert "The 103 parameters compute" in summary
    assert (small.network.num_parameters, full.network.num_parameters) == (43, 103)
    plain = Run(title="", model=small, test=avg_pool(images, 2), history=History())
    assert "means" not in network_sections(plain)[2]


@pytest.mark.parametrize("hidden", [(3,), (4, 4)])
def test_charts_of_zeros_are_valid(hidden: tuple[int, ...]) -> None:
    """If all values are 0, the y axis still has a range."""
    model = MLP(2, hidden, 2, activation="identity")
    found = activation_statistics(model, torch.randn(9, 2))
    assert "nan" not in layer_charts({0: found, 1: found})
