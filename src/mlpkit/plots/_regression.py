"""Predictions of a regression against the true values, and their residuals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from mlpkit._checks import check_int, error_message
from mlpkit.plots._style import Appearance, Look, new_figure, style_axes
from mlpkit.training.metrics import RegressionAccumulator

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["predicted_against_true", "residuals"]

_MAX_VECTOR_POINTS = 2000  # per panel; more points are one image within an SVG or PDF file


class _Target(NamedTuple):
    """Predictions and true values of one number of the targets, float64, ``(N,)``."""

    predicted: npt.NDArray[np.float64]
    true: npt.NDArray[np.float64]
    title: str


def predicted_against_true(
    predictions: Tensor,
    targets: Tensor,
    *,
    target_names: Sequence[str] | None = None,
    count: int = 9,
    appearance: Appearance = "light",
) -> Figure:
    """Plot the predictions of a regression against the true values, one panel for each target.

    A perfect prediction is on the dashed diagonal. The title of a panel has the root mean squared
    error and the coefficient of determination of its target.

    Args:
        predictions: The predictions, for example from :meth:`mlpkit.Regressor.predict`.
        targets: The true values, floating-point, in the same units.
        target_names: Name of each number of a target; None means their indices.
        count: Maximum number of panels, from the first target on.
        appearance: ``"light"`` or ``"dark"`` background.

    Shape:
        - predictions and targets: ``(N,)`` or ``(N, ...)``, equal.

    Raises:
        TypeError: If the targets are not floating-point.
        ValueError: If there are no examples, a shape or the number of names does not match, a
            value is not finite, or ``count`` is not positive.
        MissingDependencyError: If matplotlib is not installed.

    Example:
        >>> import torch
        >>> from mlpkit.plots import predicted_against_true
        >>> true = torch.tensor([1.0, 2.0, 3.0])
        >>> figure = predicted_against_true(torch.tensor([1.5, 2.0, 2.5]), true)
        >>> figure.axes[0].get_title(loc="left")
        'RMSE 0.4082, R² 0.7500'
    """
    found = _targets(predictions, targets, target_names, count)
    columns = min(3, len(found))
    rows = math.ceil(len(found) / columns)
    side = 4.6 if len(found) == 1 else 3.7
    figure, look = new_figure(side * columns, (side + 0.1) * rows, appearance)
    grid = figure.add_gridspec(rows, columns)
    for index, target in enumerate(found):
        axes = figure.add_subplot(grid[index // columns, index % columns])
        values = np.concatenate([target.predicted, target.true])
        limits = _limits(float(values.min()), float(values.max()))
        axes.plot(limits, limits, "--", color=look.quiet, linewidth=1.2)
        _points(axes, target.true, target.predicted, look)
        axes.set_xlim(limits)
        axes.set_ylim(limits)
        axes.set_aspect("equal")
        _few_ticks(axes)
        axes.set_xlabel("true value")
        axes.set_ylabel("predicted value")
        style_axes(axes, look, title=target.title)
    return figure


def residuals(
    predictions: Tensor,
    targets: Tensor,
    *,
    target_names: Sequence[str] | None = None,
    count: int = 9,
    appearance: Appearance = "light",
) -> Figure:
    """Plot the residuals of a regression against its predictions, with a histogram beside.

    A residual is the true value minus the predicted value. Without systematic errors, the residuals
    are scattered about the dashed line at 0 with the same spread everywhere. There is one panel for
    each target.

    Args:
        predictions: The predictions, for example from :meth:`mlpkit.Regressor.predict`.
        targets: The true values, floating-point, in the same units.
        target_names: Name of each number of a target; None means their indices.
        count: Maximum number of panels, from the first target on.
        appearance: ``"light"`` or ``"dark"`` background.

    Shape:
        - predictions and targets: ``(N,)`` or ``(N, ...)``, equal.

    Raises:
        TypeError: If the targets are not floating-point.
        ValueError: If there are no examples, a shape or the number of names does not match, a
            value is not finite, or ``count`` is not positive.
        MissingDependencyError: If matplotlib is not installed.

    Example:
        >>> import torch
        >>> from mlpkit.plots import residuals
        >>> true = torch.tensor([1.0, 2.0, 3.0])
        >>> figure = residuals(torch.tensor([1.5, 2.0, 2.5]), true)
        >>> [axes.get_xlabel() for axes in figure.axes]
        ['predicted value', 'examples']
    """
    found = _targets(predictions, targets, target_names, count)
    columns = min(2, len(found))
    rows = math.ceil(len(found) / columns)
    width, height = (6.6, 4.2) if len(found) == 1 else (5.2, 3.4)
    figure, look = new_figure(width * columns, height * rows, appearance)
    grid = figure.add_gridspec(rows, 2 * columns, width_ratios=(3, 1) * columns)
    for index, target in enumerate(found):
        row, column = index // columns, 2 * (index % columns)
        scatter = figure.add_subplot(grid[row, column])
        histogram = figure.add_subplot(grid[row, column + 1], sharey=scatter)
        differences = target.true - target.predicted
        largest = float(np.abs(differences).max())
        limits = _limits(-largest, largest)
        scatter.axhline(0, color=look.quiet, linewidth=1.2, linestyle="--")
        _points(scatter, target.predicted, differences, look)
        scatter.set_ylim(limits)
        scatter.set_xlabel("predicted value")
        scatter.set_ylabel("true minus predicted value")
        _few_ticks(scatter)
        style_axes(scatter, look, title=target.title)
        histogram.hist(
            differences,
            bins=min(40, max(5, math.isqrt(len(differences)))),
            range=limits,
            orientation="horizontal",
            color=look.series[0],
            edgecolor=look.paper,
            linewidth=0.5,
        )
        histogram.axhline(0, color=look.quiet, linewidth=1.2, linestyle="--")
        histogram.set_xlabel("examples")
        histogram.locator_params(axis="x", nbins=3, integer=True)
        style_axes(histogram, look)
        histogram.tick_params(labelleft=False)
    return figure


def _targets(
    predictions: Tensor, targets: Tensor, target_names: Sequence[str] | None, count: int
) -> list[_Target]:
    """Return the first targets with their titles.

    Raises:
        TypeError: If the targets are not floating-point.
        ValueError: If an argument is invalid.
    """
    most = check_int("count", count, minimum=1)
    if not targets.is_floating_point():
        cure = "use confusion_matrix for a classifier"
        raise TypeError(error_message("targets", "floating-point", targets.dtype, cure))
    if predictions.shape != targets.shape or not targets.ndim or not targets.numel():
        rule = f"of the shape of the targets, {tuple(targets.shape)}, with at least one example"
        cure = "predict the inputs of the same examples"
        raise ValueError(error_message("predictions", rule, tuple(predictions.shape), cure))
    columns = []
    for name, tensor in (("predictions", predictions), ("targets", targets)):
        values = tensor.detach().cpu().double().reshape(len(tensor), -1)
        if not bool(values.isfinite().all()):
            wrong = float(values[~values.isfinite()][0])
            raise ValueError(error_message(name, "finite", wrong))
        columns.append(values)
    metrics = RegressionAccumulator(target_names)
    metrics.update(*columns)
    predicted, true = (values.numpy() for values in columns)
    per_target = metrics.compute().per_target
    return [
        _Target(
            predicted=predicted[:, index],
            true=true[:, index],
            title=(f"{one.name}: " if len(per_target) > 1 or target_names is not None else "")
            + f"RMSE {_format(one.rmse)}, R² {one.r2:.4f}",
        )
        for index, one in enumerate(per_target[:most])
    ]


def _format(value: float) -> str:
    """Format a number with four significant digits, and a large one without an exponent."""
    return f"{value:,.0f}" if 1e4 <= value < 1e9 else f"{value:,.4g}"


def _limits(low: float, high: float) -> tuple[float, float]:
    """Return the limits of an axis with a margin; equal values get a range around them."""
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def _few_ticks(axes: Axes) -> None:
    """Place few round labels on each axis; more labels of large numbers would overlap."""
    from matplotlib.ticker import MaxNLocator

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))


def _points(axes: Axes, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], look: Look) -> None:
    """Plot points, which are smaller and more transparent the more there are."""
    axes.scatter(
        x,
        y,
        s=float(np.clip(6000 / len(x), 6, 26)),
        alpha=float(np.clip(12 / math.sqrt(len(x)), 0.08, 0.75)),
        color=look.series[0],
        linewidths=0,
        rasterized=len(x) > _MAX_VECTOR_POINTS,
    )
