"""ROC curves and precision-recall curves against scikit-learn, and as plotted."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from tests.plots.lines import xs, ys

from mlpkit.plots import Appearance, label_curves, precision_recall_curves, roc_curves

sklearn_metrics = importlib.import_module("sklearn.metrics")  # it has no types


def example(count: int = 200, labels: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Return probabilities, many of them equal, and labels that are more frequent for high ones."""
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(count, labels, generator=generator)
    noise = torch.rand(count, labels, generator=generator)
    spread = torch.linspace(0.2, 0.9, labels)
    targets = (probabilities + spread * (noise - 0.5) > 0.5).float()
    return (20 * probabilities).round() / 20, targets


def test_curves_and_areas_against_scikit_learn() -> None:
    """Oracle: roc_curve, precision_recall_curve, roc_auc_score and average_precision_score."""
    probabilities, targets = example()
    for index, found in enumerate(label_curves(probabilities, targets)):
        true, scores = targets[:, index].numpy(), probabilities[:, index].double().numpy()
        fpr, tpr, thresholds = sklearn_metrics.roc_curve(true, scores, drop_intermediate=False)
        np.testing.assert_array_equal(found.thresholds, thresholds)
        np.testing.assert_allclose(found.false_positive_rate, fpr, rtol=1e-15)
        np.testing.assert_allclose(found.recall, tpr, rtol=1e-15)
        precision, recall, ascending = sklearn_metrics.precision_recall_curve(true, scores)
        np.testing.assert_array_equal(found.thresholds[1:], ascending[::-1])
        np.testing.assert_allclose(found.precision, precision[::-1], rtol=1e-15)
        np.testing.assert_allclose(found.recall, recall[::-1], rtol=1e-15)
        expected = sklearn_metrics.roc_auc_score(true, scores)
        assert found.roc_auc == pytest.approx(expected, rel=1e-13)
        expected = sklearn_metrics.average_precision_score(true, scores)
        assert found.average_precision == pytest.approx(expected, rel=1e-13)
        assert found.name == str(index)


@pytest.mark.parametrize("present", [0.0, 1.0])
def test_a_label_of_one_kind_has_no_area(present: float) -> None:
    """The area under the ROC needs both kinds of examples, the average precision a present one."""
    scores = torch.tensor([0.2, 0.4, 0.4])
    (found,) = label_curves(scores, torch.full((3,), present))
    assert found.roc_auc is None
    assert found.average_precision == (1.0 if present else None)
    assert np.isfinite(found.recall).all()
    assert np.isfinite(found.false_positive_rate).all()
    axes = roc_curves(scores, torch.full((3,), present)).axes[0]
    assert axes.get_title(loc="left") == "ROC, area undefined"


def test_soft_targets_and_integers_are_labels() -> None:
    """A soft target counts as present above 0.5; integers and bool of the same shape are labels."""
    probabilities, targets = example()
    hard = label_curves(probabilities, targets)
    for other in (0.3 + 0.4 * targets, targets.long(), targets > 0):
        for one, found in zip(hard, label_curves(probabilities, other), strict=True):
            assert (one.roc_auc, one.average_precision) == (found.roc_auc, found.average_precision)


def legend_of(figure: Figure) -> list[str]:
    """Return the entries of the only legend."""
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize("appearance", ["light", "dark"])
def test_the_lines_are_the_curves(appearance: Appearance) -> None:
    """Each label has a line in percent and its area in the legend; the title has the mean."""
    probabilities, targets = example()
    found = label_curves(probabilities, targets, classes=("a", "b", "c"))
    figure = roc_curves(probabilities, targets, classes=("a", "b", "c"), appearance=appearance)
    (axes,) = figure.axes
    *lines, diagonal = axes.get_lines()
    for line, one in zip(lines, found, strict=True):
        np.testing.assert_allclose(xs(line), 100 * one.false_positive_rate)
        np.testing.assert_allclose(ys(line), 100 * one.recall)
    assert (xs(diagonal).tolist(), ys(diagonal).tolist()) == ([0, 100], [0, 100])
    areas = [one.roc_auc or 0.0 for one in found]
    assert legend_of(figure) == [
        f"{name}, area {area:.3f}" for name, area in zip("abc", areas, strict=True)
    ]
    assert axes.get_title(loc="left") == f"ROC, mean area {np.mean(areas):.3f}"
    figure = precision_recall_curves(
        probabilities, targets, classes=("a", "b", "c"), appearance=appearance
    )
    (axes,) = figure.axes
    for line, one in zip(axes.get_lines(), found, strict=True):
        np.testing.assert_allclose(xs(line), 100 * one.recall)
        np.testing.assert_allclose(ys(line), 100 * one.precision)
        assert line.get_drawstyle() == "steps-pre"
    means = [one.average_precision or 0.0 for one in found]
    assert legend_of(figure)[1] == f"b, area {means[1]:.3f}"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("recall [%]", "precision [%]")
    figure.draw_without_rendering()


def test_of_many_labels_the_worst_six_are_named() -> None:
    """The legend names the six smallest areas, counts the others and the undefined ones."""
    probabilities, targets = example(labels=11)
    targets[:, 3:5] = 0.0
    areas = {one.name: one.roc_auc for one in label_curves(probabilities, targets)}
    ranked = sorted((area, name) for name, area in areas.items() if area is not None)
    shown = legend_of(roc_curves(probabilities, targets))
    worst = sorted(ranked[:6], key=lambda pair: int(pair[1]))
    assert shown[:6] == [f"{name}, area {area:.3f}" for area, name in worst]
    assert shown[6:] == [
        f"3 others, area from {ranked[6][0]:.3f}",
        "3, area undefined",
        "4, area undefined",
    ]
    targets[:] = 0.0
    assert legend_of(roc_curves(probabilities, targets)) == ["11 labels, area undefined"]


def test_a_single_label_without_a_name_needs_no_legend() -> None:
    """Its area is in the title."""
    probabilities, targets = example(labels=1)
    figure = roc_curves(probabilities[:, 0], targets[:, 0])
    assert not figure.legends
    (found,) = label_curves(probabilities, targets)
    assert figure.axes[0].get_title(loc="left") == f"ROC, area {found.roc_auc:.3f}"
    assert legend_of(roc_curves(probabilities, targets, classes=("ill",)))[0].startswith("ill")


def test_invalid_arguments_raise() -> None:
    """Class indices, other shapes, no example, NaN, targets above 1 and wrong names raise."""
    probabilities, targets = example()
    for plot in (roc_curves, precision_recall_curves):
        with pytest.raises(ValueError, match=r"targets must be of the shape .*F\.one_hot\(targets"):
            plot(probabilities, targets[:, 0].long())
        with pytest.raises(ValueError, match=r"at least one example, got \(0, 3\)"):
            plot(probabilities[:0], targets[:0])
        with pytest.raises(ValueError, match=r"for one label, .*got \(1, 200, 3\)"):
            plot(probabilities[None], targets[None])
        with pytest.raises(ValueError, match="probabilities must be a number for each label"):
            plot(probabilities * float("nan"), targets)
        with pytest.raises(ValueError, match=r"targets must be in \[0, 1\], got \[0\.0, 2\.0\]"):
            plot(probabilities, 2 * targets)
        with pytest.raises(ValueError, match=r"classes must be 3 names, got \('a',\)"):
            plot(probabilities, targets, classes=("a",))
