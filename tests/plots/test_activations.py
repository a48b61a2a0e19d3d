"""The plot of activation functions against their formulas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from tests.plots.lines import xs, ys
from torch import nn

from mlpkit.nn import ActivationConfig, ActivationName
from mlpkit.plots import activation_functions

Array = npt.NDArray[np.float64]
Formula = Callable[[Array], npt.ArrayLike]


def sigmoid(z: Array) -> Array:
    """Return the logistic function."""
    return np.asarray(1 / (1 + np.exp(-z)), dtype=np.float64)


FORMULAS: dict[ActivationName, tuple[Formula, Formula]] = {
    "sigmoid": (sigmoid, lambda z: sigmoid(z) * (1 - sigmoid(z))),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0),
    "leaky_relu": (lambda z: np.maximum(0.01 * z, z), lambda z: np.where(z > 0, 1, 0.01)),
    "prelu": (lambda z: np.where(z > 0, z, 0.25 * z), lambda z: np.where(z > 0, 1, 0.25)),
    "elu": (lambda z: np.where(z > 0, z, np.exp(z) - 1), lambda z: np.where(z > 0, 1, np.exp(z))),
    "glu": (lambda z: z * sigmoid(z), lambda z: sigmoid(z) * (1 + z * (1 - sigmoid(z)))),
}


@pytest.mark.parametrize("name", list(FORMULAS))
def test_values_and_derivatives_are_the_formulas(name: ActivationName) -> None:
    """The last two lines of a panel are the formula and its derivative, except at the kink at 0."""
    (axes,) = activation_functions((name,)).axes
    value, derivative = axes.get_lines()[-2:]
    z = xs(value)
    smooth = np.abs(z) > 1e-9
    expected_value, expected_derivative = FORMULAS[name]
    expected = np.asarray(expected_value(z), dtype=np.float64)
    np.testing.assert_allclose(ys(value), expected, atol=1e-12)
    slopes = ys(derivative)
    expected = np.asarray(expected_derivative(z), dtype=np.float64)
    np.testing.assert_allclose(slopes[smooth], expected[smooth], atol=1e-12)


@pytest.mark.parametrize("pieces", [1, 2, 5])
def test_maxout_is_the_maximum_of_its_pieces(pieces: int) -> None:
    """The panel has one straight line per piece, their maximum, and the slope of the maximum."""
    (axes,) = activation_functions((ActivationConfig("maxout", num_pieces=pieces),)).axes
    *lines, value, derivative = axes.get_lines()[2:]  # after the two axes through 0
    drawn = np.array([ys(line) for line in lines], dtype=float)
    assert len(drawn) == pieces
    np.testing.assert_array_equal(ys(value), drawn.max(axis=0))
    x = xs(value)
    slopes = (drawn[:, -1] - drawn[:, 0]) / (x[-1] - x[0])
    np.testing.assert_allclose(
        np.gradient(drawn, x, axis=1), np.repeat(slopes[:, None], len(x), axis=1), atol=1e-9
    )
    highest = np.sort(drawn, axis=0)[-2:]
    clear = highest[-1] - highest[0] > 1e-9 if pieces > 1 else np.full(len(x), fill_value=True)
    found = ys(derivative)
    expected = slopes[drawn.argmax(axis=0)]
    np.testing.assert_allclose(found[clear], expected[clear], atol=1e-9)


def test_the_default_activations() -> None:
    """By default there are seven panels with one legend."""
    figure = activation_functions()
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "sigmoid", "tanh", "relu", "leaky_relu", "prelu", "maxout", "elu",
    ]  # fmt: skip
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["value", "derivative"]
    figure.draw_without_rendering()


def test_invalid_names_raise() -> None:
    """An empty sequence, a plain string and a module raise."""
    with pytest.raises(ValueError, match=r"names must be a sequence .*got \(\)"):
        activation_functions(())
    with pytest.raises(ValueError, match=r"names must be a sequence .*got 'relu'"):
        activation_functions("relu")  # type: ignore[arg-type]  # the mistake under test
    with pytest.raises(TypeError, match=r"names must be names of activations .*got ReLU\(\)"):
        activation_functions((nn.ReLU(),))  # type: ignore[arg-type]  # likewise
