"""The confusion matrix shows the counts of the evaluation."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
import torch

from mlpkit.plots import confusion_matrix
from mlpkit.training import Evaluation
from mlpkit.training.metrics import ClassificationAccumulator


def evaluation(counts: list[list[int]], classes: tuple[str, ...]) -> Evaluation:
    """Return the evaluation of a classifier with these counts."""
    metrics = ClassificationAccumulator(classes)
    for true, row in enumerate(counts):
        for predicted, count in enumerate(row):
            if count:
                logits = torch.zeros(count, len(row))
                logits[:, predicted] = 3.0
                metrics.update(logits, torch.full((count,), true))
    return metrics.compute()


COUNTS = [[8, 2, 0], [0, 5, 0], [1, 1, 18]]


def test_cells_are_the_counts() -> None:
    """Numbers are counts; colors are shares of the true class, separate for correct and wrong."""
    figure = confusion_matrix(evaluation(COUNTS, ("a", "b", "c")))
    axes = figure.axes[0]
    right, wrong = (image.get_array() for image in axes.get_images())
    assert right is not None
    assert wrong is not None
    shares = 100 * np.array(COUNTS) / np.array([[10], [5], [20]])
    np.testing.assert_allclose(np.ma.filled(right, 0) + np.ma.filled(wrong, 0), shares)
    np.testing.assert_allclose(np.ma.filled(right, 0), np.diag(np.diag(shares)))
    assert axes.get_images()[1].get_clim() == (0, 20)
    written = {tuple(text.get_position()): text.get_text() for text in axes.texts}
    expected = {(c, r): str(n) for r, row in enumerate(COUNTS) for c, n in enumerate(row) if n}
    assert written == expected
    assert axes.get_title(loc="left") == "31 of 35 correct, 11.43 % error"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")


def test_a_grid_in_the_settings_of_matplotlib_does_not_cross_the_cells() -> None:
    with mpl.rc_context({"axes.grid": True}):
        axes = confusion_matrix(evaluation(COUNTS, ("a", "b", "c"))).axes[0]
    lines = (*axes.get_xgridlines(), *axes.get_ygridlines())
    assert not any(line.get_visible() for line in lines)


def test_names_come_from_the_evaluation_or_the_argument() -> None:
    """The tick labels are the class names in order."""
    found = evaluation(COUNTS, ("a", "b", "c"))
    for given, shown in ((None, ["a", "b", "c"]), (("x", "y", "long name"), None)):
        axes = confusion_matrix(found, classes=given).axes[0]
        expected = shown or list(given or ())
        assert [label.get_text() for label in axes.get_xticklabels()] == expected
        assert [label.get_text() for label in axes.get_yticklabels()] == expected


def test_a_perfect_classifier_and_many_classes_can_be_plotted() -> None:
    """There is no error to scale by, and with more than 26 classes there are no numbers."""
    perfect = np.diag(range(1, 31)).tolist()
    figure = confusion_matrix(evaluation(perfect, tuple(map(str, range(30)))))
    assert len(figure.axes[0].texts) == 0
    figure.draw_without_rendering()


def test_a_wrong_number_of_names_raises() -> None:
    """The number of names must be the number of classes."""
    with pytest.raises(ValueError, match=r"classes must be 3 names, got \('a',\)"):
        confusion_matrix(evaluation(COUNTS, ("a", "b", "c")), classes=("a",))
