"""Bars and lines of activation statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.container import BarContainer
from tests.plots.lines import xs, ys

from mlpkit.nn import MLP, ActivationStatistics, activation_statistics
from mlpkit.plots import layer_health


def measured(scale: float, hidden: tuple[int, ...] = (16, 8)) -> ActivationStatistics:
    """Return the statistics of a ReLU network with some dead units."""
    generator = torch.Generator().manual_seed(0)
    model = MLP(4, hidden, 2, generator=generator)
    with torch.no_grad():
        for layer in model.layers:
            assert layer.linear.bias is not None
            layer.linear.bias.sub_(scale * torch.arange(layer.out_features))
    return activation_statistics(model, torch.randn(64, 4, generator=generator))


def test_bars_are_the_statistics() -> None:
    """Bars are shares in percent and the gain; the layers are in order from the top."""
    statistics = measured(0.5)
    left, right = layer_health(statistics).axes
    widths = []
    for container in (*left.containers, *right.containers):
        assert isinstance(container, BarContainer)
        widths.append([patch.get_width() for patch in container.patches])
    np.testing.assert_allclose(widths[0], [100 * layer.saturated for layer in statistics.layers])
    np.testing.assert_allclose(widths[1], [100 * layer.dead for layer in statistics.layers])
    np.testing.assert_allclose(widths[2], [layer.gradient_gain for layer in statistics.layers])
    assert max(widths[1]) > 0
    assert [label.get_text() for label in left.get_yticklabels()] == ["layers.0", "layers.1"]
    assert left.yaxis_inverted()


@pytest.mark.parametrize("by_epoch", [True, False])
def test_lines_are_the_statistics_over_the_epochs(by_epoch: bool) -> None:
    """There is one line per layer; the epochs of a mapping may be in any order."""
    several = [measured(scale) for scale in (0.0, 0.5, 1.0)]
    given = dict(zip((9, 3, 6), (several[2], several[0], several[1]), strict=True))
    figure = layer_health(given if by_epoch else several)
    columns = ("saturated", "dead", "gradient_gain")
    for axes, column, unit in zip(figure.axes, columns, (100, 100, 1), strict=True):
        for index, line in enumerate(axes.get_lines()):
            expected = [unit * getattr(found.layers[index], column) for found in several]
            np.testing.assert_allclose(ys(line), expected)
            np.testing.assert_array_equal(xs(line), [3, 6, 9] if by_epoch else [1, 2, 3])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["layers.0", "layers.1"]


def test_invalid_arguments_raise() -> None:
    """An empty sequence, measurements of different layers and another type raise."""
    rule = "statistics must be at least one measurement, all of the same hidden layers"
    with pytest.raises(ValueError, match=rule + r", got \[\]"):
        layer_health([])
    with pytest.raises(ValueError, match=rule):
        layer_health([measured(0.0), measured(0.0, (16,))])
    with pytest.raises(TypeError, match=r"statistics must be ActivationStatistics.*got 3"):
        layer_health(3)  # type: ignore[arg-type]  # the mistake under test
