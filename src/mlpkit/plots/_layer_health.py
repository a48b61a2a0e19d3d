"""Saturation, dead units and gradient gain of the hidden layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mlpkit._checks import error_message
from mlpkit.nn import ActivationStatistics
from mlpkit.plots._style import Appearance, add_legend, new_figure, style_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["layer_health"]


def layer_health(
    statistics: ActivationStatistics
    | Sequence[ActivationStatistics]
    | Mapping[int, ActivationStatistics],
    *,
    appearance: Appearance = "light",
) -> Figure:
    """Plot saturated values, dead units and the gradient gain of every hidden layer.

    A saturated value of ReLU is an output of 0: the unit is inactive for that example, which is no
    fault. A dead unit is inactive for every example.

    One measurement is plotted as bars per layer; several are plotted as one line per layer, from
    dark (first layer) to bright (last layer).

    Args:
        statistics: The result of :func:`mlpkit.nn.activation_statistics`; or a sequence of them,
            measured after epochs 1, 2 and so on; or a mapping from epochs to measurements.
        appearance: ``"light"`` or ``"dark"`` background.

    Raises:
        TypeError: If ``statistics`` is of another type.
        ValueError: If there are no measurements, or they have different layers.
        MissingDependencyError: If matplotlib is not installed.

    Example:
        >>> import torch
        >>> from mlpkit.nn import MLP, activation_statistics
        >>> from mlpkit.plots import layer_health
        >>> statistics = activation_statistics(MLP(4, (8, 8), 2), torch.randn(32, 4))
        >>> figure = layer_health(statistics)
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['layers.0', 'layers.1']
    """
    if isinstance(statistics, ActivationStatistics):
        _check({1: statistics})
        return _snapshot(statistics, appearance)
    if isinstance(statistics, Mapping):
        by_epoch = dict(sorted(statistics.items()))
    elif isinstance(statistics, Sequence):
        by_epoch = dict(enumerate(statistics, start=1))
    else:
        raise TypeError(
            error_message("statistics", "ActivationStatistics, one or several", statistics)
        )
    _check(by_epoch)
    return _over_epochs(by_epoch, appearance)


def _check(by_epoch: Mapping[int, ActivationStatistics]) -> None:
    if not all(isinstance(found, ActivationStatistics) for found in by_epoch.values()):
        rule = "ActivationStatistics, one or several"
        raise TypeError(error_message("statistics", rule, by_epoch))
    layers = {tuple(layer.name for layer in found.layers) for found in by_epoch.values()}
    if len(layers) != 1 or () in layers:
        rule = "at least one measurement, all of the same hidden layers"
        raise ValueError(error_message("statistics", rule, sorted(layers)))


def _snapshot(statistics: ActivationStatistics, appearance: Appearance) -> Figure:
    from matplotlib.container import BarContainer

    layers = statistics.layers
    figure, look = new_figure(9.0, 1.5 + 0.6 * len(layers), appearance)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.4, 1))
    positions = np.arange(len(layers))
    left.barh(
        positions - 0.19,
        [100 * layer.saturated for layer in layers],
        height=0.36,
        color=look.series[0],
        label=f"saturated values (derivative below {statistics.threshold:g})",
    )
    left.barh(
        positions + 0.19,
        [100 * layer.dead for layer in layers],
        height=0.36,
        color=look.series[1],
        label="dead units",
    )
    left.set_yticks(positions, [layer.name for layer in layers])
    left.invert_yaxis()
    left.set_xlim(0, 112)  # space for the numbers beside the bars
    left.set_xticks(range(0, 101, 20))
    left.set_xlabel("share [%]")
    style_axes(left, look, title=f"Saturation, {statistics.num_examples:,} examples")
    gains = [layer.gradient_gain for layer in layers]
    right.barh(positions, gains, height=0.5, color=look.series[0])
    right.axvline(1.0, color=look.quiet, linewidth=1.2, linestyle="--")
    right.set_xlim(left=0, right=1.1 * max(1.0, *gains))
    right.set_xlabel("gradient gain of the activation [1]")
    style_axes(right, look, title="Gradient gain (1: unchanged)")
    for bars in left.containers:
        assert isinstance(bars, BarContainer)
        left.bar_label(bars, fmt="%.1f %%", padding=3, fontsize=8, color=look.ink)
    for axes in (left, right):
        axes.grid(visible=False, axis="y")
    add_legend(figure, look, *left.get_legend_handles_labels(), columns=2)
    return figure


def _over_epochs(by_epoch: Mapping[int, ActivationStatistics], appearance: Appearance) -> Figure:
    from matplotlib import colormaps
    from matplotlib.ticker import MaxNLocator

    figure, look = new_figure(10.0, 3.6, appearance)
    all_axes = figure.subplots(1, 3)
    epochs = list(by_epoch)
    names = [layer.name for layer in next(iter(by_epoch.values())).layers]
    low, high = (0.05, 0.8) if appearance == "light" else (0.35, 1.0)
    colors = colormaps["cividis"](np.linspace(low, high, len(names)))
    for index, name in enumerate(names):
        layers = [found.layers[index] for found in by_epoch.values()]
        columns = (
            [100 * layer.saturated for layer in layers],
            [100 * layer.dead for layer in layers],
            [layer.gradient_gain for layer in layers],
        )
        for axes, values in zip(all_axes, columns, strict=True):
            axes.plot(
                epochs, values, "o-", markersize=3, linewidth=1.8, color=colors[index], label=name
            )
    titles = ("Saturated values", "Dead units", "Gradient gain")
    labels = ("share of all values [%]", "share of all units [%]", "gradient gain [1]")
    for axes, title, label in zip(all_axes, titles, labels, strict=True):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        top = max(1.0, 1.08 * axes.dataLim.y1)
        axes.set_ylim(bottom=-0.02 * top, top=top)
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        style_axes(axes, look, title=title)
    add_legend(figure, look, *all_axes[0].get_legend_handles_labels(), columns=6)
    return figure
