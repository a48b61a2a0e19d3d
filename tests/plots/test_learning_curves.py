"""Learning curves: the values of the lines, and the labels of the axes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tests.plots.lines import xs, ys

from mlpkit.plots import learning_curves
from mlpkit.training import EpochRow, History


def history(losses: list[float], val: dict[int, float], *, errors: bool = True) -> History:
    """Return a history; `val` has the validation losses by epoch."""
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
    """Training has every epoch, validation the epochs that have it; the error is in percent."""
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


def test_the_objective_on_the_validation_data_is_dotted() -> None:
    """One run that is trained on another loss shows that loss; several runs do not."""
    rows = [
        dataclasses.replace(row, val_objective_loss=0.6 - 0.1 * row.epoch)
        for row in history([0.9, 0.7], {0: 0.05, 1: 0.07})
    ]
    figure = learning_curves(History(rows))
    _, objective, val = figure.axes[0].get_lines()
    np.testing.assert_allclose(ys(objective), [0.6, 0.5])
    np.testing.assert_array_equal(ys(val), [0.05, 0.07])
    assert objective.get_linestyle() == ":"
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["training", "validation", "training loss on the validation data"]
    several = learning_curves({"a": History(rows), "b": History(rows)})
    assert len(several.axes[0].get_lines()) == 4
    assert len(several.legends[0].get_texts()) == 4


def test_several_runs_keep_their_names_and_colors() -> None:
    """Each run has one color in both panels, and an entry in the legend."""
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


def test_a_regression_has_a_loss_without_a_unit_and_no_error() -> None:
    """Without validation errors there is one panel."""
    (axes,) = learning_curves(history([0.9, 0.8], {1: 0.5}, errors=False)).axes
    assert axes.get_ylabel() == "loss"


@pytest.mark.parametrize(
    ("losses", "scale"), [([1.0, 0.11], "linear"), ([1.0, 0.09], "log"), ([1.0, 0.0], "linear")]
)
def test_the_axis_is_logarithmic_for_wide_ranges(losses: list[float], scale: str) -> None:
    """The axis is logarithmic from a factor of ten on, but never with a loss of 0."""
    assert learning_curves(history(losses, {})).axes[0].get_yscale() == scale


def test_a_single_epoch_is_visible() -> None:
    """A line of one point would be invisible; it gets a marker."""
    assert learning_curves(history([0.9], {})).axes[0].get_lines()[0].get_marker() == "o"


def test_invalid_arguments_raise() -> None:
    """An empty mapping, an empty history and another type raise."""
    with pytest.raises(ValueError, match=r"runs must be at least one history.*got \{\}"):
        learning_curves({})
    with pytest.raises(ValueError, match=r"none without an epoch, got \{'empty': 0\}"):
        learning_curves({"empty": History()})
    with pytest.raises(TypeError, match="runs must be a History or histories by name, got 3"):
        learning_curves(3)  # type: ignore[arg-type]  # the mistake under test
    rows: dict[str, object] = {"one": [1]}
    with pytest.raises(TypeError, match=r"runs must be a History or histories by name, got {'one"):
        learning_curves(rows)  # type: ignore[arg-type]  # likewise
