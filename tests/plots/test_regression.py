"""Predictions against true values and residuals, against scikit-learn."""

from __future__ import annotations

import importlib
import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from matplotlib.axes import Axes

from mlpkit.plots import Appearance, predicted_against_true, residuals

sklearn_metrics = importlib.import_module("sklearn.metrics")  # it has no types


def example(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return predictions and targets in large units with an offset."""
    generator = torch.Generator().manual_seed(0)
    targets = 3000 + 500 * torch.randn(50, *shape, generator=generator)
    return targets + 200 * torch.randn(50, *shape, generator=generator), targets


def points(axes: Axes) -> npt.NDArray[np.float64]:
    """Return the coordinates of the only scatter plot, ``(N, 2)``."""
    (collection,) = axes.collections
    return np.asarray(collection.get_offsets(), dtype=np.float64)


def test_points_and_titles_of_one_target() -> None:
    """Oracle for the title: scikit-learn. The axes have equal limits that contain all points."""
    predictions, targets = example()
    (axes,) = predicted_against_true(predictions, targets).axes
    np.testing.assert_allclose(points(axes), torch.stack([targets, predictions], 1).double())
    true, predicted = targets.double().numpy(), predictions.double().numpy()
    rmse = math.sqrt(sklearn_metrics.mean_squared_error(true, predicted))
    r2 = sklearn_metrics.r2_score(true, predicted)
    assert axes.get_title(loc="left") == f"RMSE {rmse:.4g}, R² {r2:.4f}"
    assert axes.get_xlim() == axes.get_ylim()
    low, high = axes.get_xlim()
    assert low < min(predictions.min(), targets.min())
    assert high > max(predictions.max(), targets.max())
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("true value", "predicted value")


def test_residuals_and_their_histogram() -> None:
    """Points are predictions and residuals; the bars count every residual at its value."""
    predictions, targets = example()
    scatter, histogram = residuals(predictions, targets).axes
    difference = (targets.double() - predictions.double()).numpy()
    expected = np.stack([predictions.double().numpy(), difference], 1)
    np.testing.assert_allclose(points(scatter), expected)
    low, high = scatter.get_ylim()
    assert low == -high
    counts, _ = np.histogram(difference, bins=len(histogram.patches), range=(low, high))
    widths = [patch.get_width() for patch in histogram.patches]  # type: ignore[attr-defined]  # bars
    np.testing.assert_array_equal(widths, counts)
    assert sum(widths) == 50
    assert histogram.get_ylim() == scatter.get_ylim()


@pytest.mark.parametrize("appearance", ["light", "dark"])
def test_each_target_has_a_panel(appearance: Appearance) -> None:
    """The panels are in order and named; ``count`` limits them; targets may have several axes."""
    predictions, targets = example(2, 2)
    names = ("a", "b", "c", "d")
    figure = predicted_against_true(
        predictions, targets, target_names=names, count=3, appearance=appearance
    )
    assert [axes.get_title(loc="left").split(":")[0] for axes in figure.axes] == ["a", "b", "c"]
    for index, axes in enumerate(figure.axes):
        np.testing.assert_allclose(points(axes)[:, 1], predictions.flatten(1)[:, index].double())
    figure.draw_without_rendering()
    figure = residuals(predictions, targets, appearance=appearance)
    titles = [axes.get_title(loc="left").split(":")[0] for axes in figure.axes[::2]]
    assert titles == ["0", "1", "2", "3"]
    assert len(figure.axes) == 8
    figure.draw_without_rendering()


def test_equal_values_and_many_examples_can_be_plotted() -> None:
    """A perfect prediction of a constant has axes with a range; many points become an image."""
    constant = torch.full((3,), 7.0)
    for figure in (predicted_against_true(constant, constant), residuals(constant, constant)):
        figure.draw_without_rendering()
        low, high = figure.axes[0].get_ylim()
        assert low < high
    many = torch.randn(2001)
    (collection,) = predicted_against_true(many, many).axes[0].collections
    assert collection.get_rasterized()


def test_invalid_arguments_raise() -> None:
    """Class indices, other shapes, no example, NaN, and wrong names or counts raise."""
    predictions, targets = example(2)
    for plot in (predicted_against_true, residuals):
        with pytest.raises(TypeError, match=r"targets must be floating-point, got torch\.int64"):
            plot(predictions, targets.long())
        with pytest.raises(ValueError, match=r"predictions must be of the shape .*got \(50,\)"):
            plot(predictions[:, 0], targets)
        with pytest.raises(ValueError, match=r"at least one example, got \(0, 2\)"):
            plot(predictions[:0], targets[:0])
        with pytest.raises(ValueError, match="targets must be finite, got nan"):
            plot(predictions, targets * float("nan"))
        with pytest.raises(ValueError, match="predictions must be finite, got inf"):
            plot(predictions / 0.0, targets)
        with pytest.raises(ValueError, match=r"target_names must be one name .*\('a',\)"):
            plot(predictions, targets, target_names=("a",))
        with pytest.raises(ValueError, match="count must be a positive integer, got 0"):
            plot(predictions, targets, count=0)
