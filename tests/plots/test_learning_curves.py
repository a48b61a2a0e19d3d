"""The curves hold the numbers of the history, and the axes say what they are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.lines import Line2D

from mlpkit.plots import learning_curves
from mlpkit.training import EpochRow, History


def xs(line: Line2D) -> npt.NDArray[np.float64]:
    """Return where the points of a line stand along x."""
    return np.asarray(line.get_xdata(), dtype=np.float64)


def ys(line: Line2D) -> npt.NDArray[np.float64]:
    """Return where the points of a line stand along y."""
    return np.asarray(line.get_ydata(), dtype=np.float64)


def history(losses: list[float], val: dict[int, float], *, errors: bool = True) -> History:
    """Return a history; `val` says which epochs were validated."""
    return History(
        EpochRow(
            epoch=epoch, step=epoch, lr=0.1, train_loss=loss, seconds=1.0, examples_per_second=1.0,
            val_loss=val.get(epoch),
            val_accuracy=1 - val[epoch] / 10 if epoch in val and errors else None,
            val_error=val[epoch] / 10 if epoch in val and errors else None,
        )
        for epoch, loss in enumerate(losses)
    )  # fmt: skip


def test_the_lines_are_the_history() -> None:
    """Training in every epoch, validation where there was one, the error in per cent."""
    figure = learning_curves(history([0.9, 0.7, 0.4, 0.3], {0: 0.8, 2: 0.5, 3: 0.6}))
    loss, error = figure.axes
    train, val = loss.get_lines()
    np.testing.assert_array_equal(xs(train), [1, 2, 3, 4])
    np.testing.assert_array_equal(ys(train), [0.9, 0.7, 0.4, 0.3])
    np.testing.assert_array_equal(xs(val), [1, 3, 4])
    np.testing.assert_array_equal(ys(val), [0.8, 0.5, 0.6])
    line, best = error.get_lines()
    np.testing.assert_allclose(ys(line), [8.0, 5.0, 6.0])
    assert (xs(best).tolist(), ys(best).tolist()) == ([3], [5.0])
    assert error.get_title(loc="left") == "Validation error, best 5.00 % (epoch 3)"
    assert (loss.get_ylabel(), error.get_ylabel()) == ("loss [nats]", "error [%]")
    assert (train.get_linestyle(), val.get_linestyle()) == ("--", "-")


def test_several_runs_keep_their_names_and_colors() -> None:
    """Each run has one color in both panels, and the legend names it."""
    runs = {"a": history([0.9, 0.5], {0: 0.8, 1: 0.4}), "b": history([0.7, 0.6], {0: 0.9, 1: 0.5})}
    figure = learning_curves(runs)
    loss, error = figure.axes
    first, first_val, second, second_val = loss.get_lines()
    assert first.get_color() == first_val.get_color() == error.get_lines()[0].get_color()
    assert second.get_color() == second_val.get_color() == error.get_lines()[1].get_color()
    assert first.get_color() != second.get_color()
    np.testing.assert_array_equal(ys(second_val), [0.9, 0.5])
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["a, best 4.00 %", "b, best 5.00 %", "training", "validation"]
    assert legend.get_lines()[1].get_color() == second.get_color()
    assert error.get_title(loc="left") == "Validation error, best 4.00 % (epoch 2)"


def test_a_regression_has_a_loss_without_unit_and_no_error() -> None:
    """Without validation errors there is one panel."""
    (axes,) = learning_curves(history([0.9, 0.8], {1: 0.5}, errors=False)).axes
    assert axes.get_ylabel() == "loss"


@pytest.mark.parametrize(
    ("losses", "scale"), [([1.0, 0.11], "linear"), ([1.0, 0.09], "log"), ([1.0, 0.0], "linear")]
)
def test_the_axis_is_logarithmic_where_it_must_be(losses: list[float], scale: str) -> None:
    """From a factor of ten on, and never with a loss of 0."""
    assert learning_curves(history(losses, {})).axes[0].get_yscale() == scale


def test_an_only_epoch_is_seen() -> None:
    """A line of one point would be invisible: it gets a marker."""
    assert learning_curves(history([0.9], {})).axes[0].get_lines()[0].get_marker() == "o"


def test_mistakes_are_explained() -> None:
    """No run, an empty run, something else."""
    with pytest.raises(ValueError, match=r"runs must be at least one history.*got \{\}"):
        learning_curves({})
    with pytest.raises(ValueError, match=r"none without an epoch, got \{'empty': 0\}"):
        learning_curves({"empty": History()})
    with pytest.raises(TypeError, match="runs must be a History or histories by name, got 3"):
        learning_curves(3)  # type: ignore[arg-type]  # the mistake under test
