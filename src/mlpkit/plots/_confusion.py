"""Which classes a classifier takes for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mlpkit._checks import error_message
from mlpkit.plots._style import BLUE, VERMILLION, Appearance, Look, blend, dress, new_figure
from mlpkit.training import Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["confusion_matrix"]

_MOST_NUMBERED = 26  # classes; beyond, numbers in the cells are too small to read


def confusion_matrix(
    evaluation: Evaluation,
    classes: Sequence[str] | None = None,
    *,
    appearance: Appearance = "light",
) -> Figure:
    """Draw how many examples of each class were put into each class.

    The diagonal (right) is blue by its share of the true class, from 0 to 100 %. Everything else
    (wrong) is orange on a scale of its own that ends at the largest share: on one scale with the
    diagonal, the errors of a good classifier would not be seen. The numbers are counts.

    Args:
        evaluation: What :meth:`mlpkit.training.Trainer.evaluate` gave for a classifier.
        classes: Name of each class; None takes those of the evaluation.
        appearance: ``"light"`` or ``"dark"`` paper.

    Raises:
        ValueError: If the number of names is not that of the classes.
        AttributeError: If the evaluation is of a regression.
        MissingDependencyError: If matplotlib is not installed.

    Example:
        >>> import torch
        >>> from mlpkit.plots import confusion_matrix
        >>> from mlpkit.training import ClassificationAccumulator
        >>> metrics = ClassificationAccumulator(("cat", "dog"))
        >>> metrics.update(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0]))
        >>> axes = confusion_matrix(metrics.compute()).axes[0]
        >>> [text.get_text() for text in axes.texts]
        ['1', '1']
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
    bar = figure.colorbar(errors, ax=axes, shrink=0.75)
    bar.set_label("errors: share of the true class [%]", color=look.ink)
    bar.ax.tick_params(colors=look.quiet, labelcolor=look.ink, labelsize=9)
    bar.outline.set_visible(False)
    _name_classes(axes, names, look)
    if len(names) <= _MOST_NUMBERED:
        _write_counts(axes, counts, shares, largest, look)
    title = f"{np.trace(counts):,} of {counts.sum():,} right, {100 * evaluation.error:.2f} % error"
    dress(axes, look, title=title, grid=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


def _name_classes(axes: Axes, names: Sequence[str], look: Look) -> None:
    """Put the names at the cells, and a line between each two cells."""
    places = range(len(names))
    is_short = max(map(len, names)) <= 3
    slant = 0.0 if is_short else 40.0
    size = 9.0 if len(names) <= _MOST_NUMBERED else 6.0
    axes.set_xticks(places, names, rotation=slant, ha="center" if is_short else "right")
    axes.set_yticks(places, names)
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
    """Write each count that is not 0, readable on the color of its cell."""
    size = 9.0 if counts.max() < 1000 and len(counts) <= 12 else 7.0
    for (row, column), count in np.ndenumerate(counts):
        if count:
            strength = shares[row, column] / (1.0 if row == column else largest)
            is_blue = row == column and strength > 0.6  # ink is read well on every orange
            color = "#ffffff" if is_blue else look.ink
            axes.text(column, row, str(count), ha="center", va="center", color=color, fontsize=size)
