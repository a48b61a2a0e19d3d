"""The confusion matrix of a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mlpkit._checks import error_message
from mlpkit.plots._style import (
    BLUE,
    VERMILLION,
    Appearance,
    Look,
    add_colorbar,
    blend,
    new_figure,
    style_axes,
)
from mlpkit.training import Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["confusion_matrix"]

_MAX_NUMBERED = 26  # with more classes, numbers in the cells are too small to read


def confusion_matrix(
    evaluation: Evaluation,
    *,
    classes: Sequence[str] | None = None,
    appearance: Appearance = "light",
) -> Figure:
    """Plot the confusion matrix: the number of examples of each true and predicted class.

    Correct predictions, on the diagonal, are blue on a scale from 0 to 100 % of the true class.
    Errors are orange on a separate scale that ends at the largest share: on the scale of the
    diagonal, the errors of a good classifier would be invisible. The numbers are counts.

    Args:
        evaluation: The evaluation of a classifier, for example from
            :meth:`mlpkit.training.Trainer.evaluate`.
        classes: Names of the classes; None uses those of the evaluation.
        appearance: ``"light"`` or ``"dark"`` background.

    Raises:
        ValueError: If the number of names differs from the number of classes.
        AttributeError: If the evaluation is that of a regression.
        MissingDependencyError: If matplotlib is not installed.

    Example:
        >>> import torch
        >>> from mlpkit import MLP, SoftmaxClassifier, Trainer
        >>> from mlpkit.data import LabeledTensors
        >>> from mlpkit.plots import confusion_matrix
        >>> model = SoftmaxClassifier(MLP(2, (), 2), classes=("cat", "dog"))
        >>> inputs = torch.randn(20, 2)
        >>> data = LabeledTensors(inputs, model.predict(inputs))
        >>> figure = confusion_matrix(Trainer(model).evaluate(data))
        >>> figure.axes[0].get_title(loc="left")
        '20 of 20 correct, 0.00 % error'
    """
    counts = evaluation.confusion.numpy()
    names = tuple(row.name for row in evaluation.per_class) if classes is None else tuple(classes)
    if len(names) != len(counts):
        raise ValueError(error_message("classes", f"{len(counts)} names", names))
    side = float(np.clip(2.4 + 0.38 * len(names), 4.2, 12.0))
    figure, look = new_figure(side + 0.9, side, appearance)
    axes = figure.subplots()
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    is_right = np.eye(len(counts), dtype=bool)
    largest = float(shares[~is_right].max(initial=0.0)) or 0.01
    right = np.ma.masked_where(~is_right, 100 * shares)
    wrong = np.ma.masked_where(is_right, 100 * shares)
    axes.imshow(right, cmap=blend(look.paper, BLUE), vmin=0, vmax=100)
    errors = axes.imshow(wrong, cmap=blend(look.paper, VERMILLION), vmin=0, vmax=100 * largest)
    add_colorbar(figure, axes, errors, look, label="errors: share of the true class [%]")
    _label_classes(axes, names, look)
    if len(names) <= _MAX_NUMBERED:
        _write_counts(axes, counts, shares, largest, look)
    total, right_total = counts.sum(), np.trace(counts)
    title = f"{right_total:,} of {total:,} correct, {100 * evaluation.error:.2f} % error"
    style_axes(axes, look, title=title, frame=False)
    return figure


def _label_classes(axes: Axes, names: Sequence[str], look: Look) -> None:
    """Label the rows and columns, and separate the cells by lines."""
    positions = range(len(names))
    is_short = max(map(len, names)) <= 3
    rotation = 0.0 if is_short else 40.0
    size = 9.0 if len(names) <= _MAX_NUMBERED else 6.0
    axes.set_xticks(positions, names, rotation=rotation, ha="center" if is_short else "right")
    axes.set_yticks(positions, names)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_rotation_mode("anchor")
        label.set_fontsize(size)
    axes.set_xticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.grid(visible=True, which="minor", color=look.grid, linewidth=0.8)
    axes.tick_params(which="both", length=0)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")


def _write_counts(
    axes: Axes,
    counts: npt.NDArray[np.int64],
    shares: npt.NDArray[np.float64],
    largest: float,
    look: Look,
) -> None:
    """Write the nonzero counts, in a color with enough contrast to the cell."""
    size = 9.0 if counts.max() < 1000 and len(counts) <= 12 else 7.0
    for (row, column), count in np.ndenumerate(counts):
        if count:
            strength = shares[row, column] / (1.0 if row == column else largest)
            is_blue = row == column and strength > 0.6  # every orange has enough contrast to ink
            color = "#ffffff" if is_blue else look.ink
            axes.text(column, row, str(count), ha="center", va="center", color=color, fontsize=size)
