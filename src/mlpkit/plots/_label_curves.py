"""ROC curves and precision-recall curves of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mlpkit._checks import error_message
from mlpkit.plots._style import Appearance, Look, add_legend, new_figure, style_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["LabelCurves", "label_curves", "precision_recall_curves", "roc_curves"]

_LEGEND_WIDTH = 66  # characters that fit below the panel


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelCurves:
    """The ROC curve and the precision-recall curve of one label.

    Point ``k`` of a curve predicts the label for the examples whose probability is at least
    ``thresholds[k]``. At the first point, whose threshold is infinite, no example is predicted; at
    the last point all are.

    Attributes:
        name: Name of the label, or its index as a string.
        thresholds: Infinity, then the distinct probabilities in descending order, ``(K,)``.
        false_positive_rate: Fraction of the absent examples that are predicted, ``(K,)``; 0 if
            there is no absent example.
        recall: Fraction of the present examples that are predicted, which is the true positive
            rate, ``(K,)``; 0 if there is no present example.
        precision: Fraction of the predicted examples that are present, ``(K,)``; 1 if no example
            is predicted.
        roc_auc: Area under the ROC curve, by the trapezoidal rule; None if all examples are
            present, or all absent.
        average_precision: Area under the precision-recall curve, as a sum of steps; None if no
            example is present.
    """

    name: str
    thresholds: npt.NDArray[np.float64]
    false_positive_rate: npt.NDArray[np.float64]
    recall: npt.NDArray[np.float64]
    precision: npt.NDArray[np.float64]
    roc_auc: float | None
    average_precision: float | None


def label_curves(
    probabilities: Tensor, targets: Tensor, *, classes: Sequence[str] | None = None
) -> tuple[LabelCurves, ...]:
    r"""Return the ROC curve and the precision-recall curve of each label, with their areas.

    .. math::
        \mathrm{AP} = \sum_k (R_k - R_{k-1})\, P_k

    is the average precision, where :math:`P_k` and :math:`R_k` are precision and recall at the
    threshold :math:`k`.

    Args:
        probabilities: Probability of each label, or another score that is higher for present
            labels.
        targets: 1 for present and 0 for absent labels; a soft target counts as present above 0.5.
        classes: Name of each label; None means their indices.

    Shape:
        - probabilities and targets: ``(N, L)``, or ``(N,)`` for one label.

    Raises:
        ValueError: If there are no examples, a shape or the number of names does not match, a
            probability is NaN, or a target is not in [0, 1].

    Example:
        >>> import torch
        >>> from mlpkit.plots import label_curves
        >>> probabilities = torch.tensor([0.9, 0.8, 0.3, 0.1])
        >>> (found,) = label_curves(probabilities, torch.tensor([1.0, 0.0, 1.0, 0.0]))
        >>> found.roc_auc, found.recall.tolist()
        (0.75, [0.0, 0.5, 0.5, 1.0, 1.0])

    References:
        Davis and Goadrich (2006), The Relationship Between Precision-Recall and ROC Curves.
        Fawcett (2006), An Introduction to ROC Analysis, algorithm 1.
    """
    rows, present = _check_labels(probabilities, targets)
    names = tuple(map(str, range(rows.shape[1]))) if classes is None else tuple(classes)
    if len(names) != rows.shape[1]:
        raise ValueError(error_message("classes", f"{rows.shape[1]} names", names))
    return tuple(
        _curves_of(name, scores, is_present)
        for name, scores, is_present in zip(names, rows.T, present.T, strict=True)
    )


def _check_labels(
    probabilities: Tensor, targets: Tensor
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return probabilities, and whether each label is present, both ``(N, L)``."""
    if probabilities.ndim not in (1, 2) or not probabilities.numel():
        rule = "of shape (N, L), or (N,) for one label, with at least one example"
        raise ValueError(error_message("probabilities", rule, tuple(probabilities.shape)))
    if targets.shape != probabilities.shape:
        rule = f"of the shape of the probabilities, {tuple(probabilities.shape)}"
        cure = None
        if probabilities.ndim == 2 and targets.ndim == 1:
            cure = f"F.one_hot(targets, {probabilities.shape[1]}) makes labels of class indices"
        raise ValueError(error_message("targets", rule, tuple(targets.shape), cure))
    scores = probabilities.detach().cpu().double()
    if bool(scores.isnan().any()):
        raise ValueError(error_message("probabilities", "a number for each label", float("nan")))
    values = targets.detach().cpu().double()
    low, high = (float(bound) for bound in torch.aminmax(values))
    if not (low >= 0.0 and high <= 1.0):
        raise ValueError(error_message("targets", "in [0, 1]", [low, high]))
    count = len(scores)
    return scores.reshape(count, -1).numpy(), (values > 0.5).reshape(count, -1).numpy()


def _curves_of(
    name: str, scores: npt.NDArray[np.float64], is_present: npt.NDArray[np.bool_]
) -> LabelCurves:
    """Return the curves of one label; both arrays are ``(N,)``."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    is_last = np.append(ranked[1:] != ranked[:-1], True)
    predicted = np.arange(1, len(scores) + 1)[is_last]
    hits = np.cumsum(is_present[order])[is_last]
    present = int(is_present.sum())
    absent = len(scores) - present
    recall = np.append(0.0, hits / max(1, present))
    false_positive_rate = np.append(0.0, (predicted - hits) / max(1, absent))
    precision = np.append(1.0, hits / predicted)
    return LabelCurves(
        name=name,
        thresholds=np.append(np.inf, ranked[is_last]),
        false_positive_rate=false_positive_rate,
        recall=recall,
        precision=precision,
        roc_auc=(
            float(np.sum(np.diff(false_positive_rate) * (recall[1:] + recall[:-1])) / 2)
            if present and absent
            else None
        ),
        average_precision=float(np.sum(np.diff(recall) * precision[1:])) if present else None,
    )


def roc_curves(
    probabilities: Tensor,
    targets: Tensor,
    *,
    classes: Sequence[str] | None = None,
    appearance: Appearance = "light",
) -> Figure:
    """Plot the ROC curve of each label: the true against the false positive rate.

    A classifier that ranks every present example above every absent one has an area of 1; random
    scores have an area of 0.5, on the dashed diagonal. With more than six labels, those with the
    six smallest areas have colors and the others are gray. A label whose examples are all present
    or all absent has no curve.

    Args:
        probabilities: Probability of each label, for example from
            :meth:`mlpkit.MultilabelClassifier.predict_proba`.
        targets: 1 for present and 0 for absent labels; a soft target counts as present above 0.5.
        classes: Name of each label; None means their indices.
        appearance: ``"light"`` or ``"dark"`` background.

    Shape:
        - probabilities and targets: ``(N, L)``, or ``(N,)`` for one label.

    Raises:
        ValueError: For the reasons given in :func:`label_curves`.
        MissingDependencyError: If matplotlib is not installed.

    Example:
        >>> import torch
        >>> from mlpkit.plots import roc_curves
        >>> probabilities = torch.tensor([[0.9, 0.2], [0.2, 0.1], [0.7, 0.8]])
        >>> targets = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> figure = roc_curves(probabilities, targets, classes=("cat", "dog"))
        >>> [text.get_text() for text in figure.legends[0].get_texts()]
        ['cat, area 1.000', 'dog, area 0.500']
    """
    found = label_curves(probabilities, targets, classes=classes)
    lines = [_Line(one.name, one.roc_auc, one.false_positive_rate, one.recall) for one in found]
    figure, look = _plot_lines(lines, "ROC", "default", appearance, with_names=classes is not None)
    (axes,) = figure.axes
    axes.plot([0, 100], [0, 100], "--", color=look.quiet, linewidth=1.2, zorder=1)
    axes.set_xlabel("false positive rate [%]")
    axes.set_ylabel("true positive rate [%]")
    return figure


def precision_recall_curves(
    probabilities: Tensor,
    targets: Tensor,
    *,
    classes: Sequence[str] | None = None,
    appearance: Appearance = "light",
) -> Figure:
    """Plot precision against recall for each label.

    The area under a curve is the average precision. Random scores have the fraction of present
    examples as their precision. With more than six labels, those with the six smallest areas have
    colors and the others are gray. A label without a present example has no curve.

    Args:
        probabilities: Probability of each label, for example from
            :meth:`mlpkit.MultilabelClassifier.predict_proba`.
        targets: 1 for present and 0 for absent labels; a soft target counts as present above 0.5.
        classes: Name of each label; None means their indices.
        appearance: ``"light"`` or ``"dark"`` background.

    Shape:
        - probabilities and targets: ``(N, L)``, or ``(N,)`` for one label.

    Raises:
        ValueError: For the reasons given in :func:`label_curves`.
        MissingDependencyError: If matplotlib is not installed.

    Example:
        >>> import torch
        >>> from mlpkit.plots import precision_recall_curves
        >>> probabilities = torch.tensor([0.9, 0.8, 0.3, 0.1])
        >>> figure = precision_recall_curves(probabilities, torch.tensor([1.0, 0.0, 1.0, 0.0]))
        >>> figure.axes[0].get_title(loc="left")
        'Precision and recall, area 0.833'
    """
    found = label_curves(probabilities, targets, classes=classes)
    lines = [_Line(one.name, one.average_precision, one.recall, one.precision) for one in found]
    figure, _ = _plot_lines(
        lines, "Precision and recall", "steps-pre", appearance, with_names=classes is not None
    )
    (axes,) = figure.axes
    axes.set_xlabel("recall [%]")
    axes.set_ylabel("precision [%]")
    return figure


class _Line(NamedTuple):
    """One curve; its area is None if the label has no curve."""

    name: str
    area: float | None
    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]


def _plot_lines(
    lines: Sequence[_Line],
    title: str,
    drawstyle: Literal["default", "steps-pre"],
    appearance: Appearance,
    *,
    with_names: bool,
) -> tuple[Figure, Look]:
    """Return a figure with the curves and a legend with their areas, and its colors.

    A single curve has a legend only ``with_names``; its area is in the title.
    """
    areas = [line.area for line in lines if line.area is not None]
    figure, look = new_figure(5.2, 5.4 + 0.1 * min(len(lines), 7), appearance)
    axes = figure.subplots()
    axes.set_xlim(-2, 102)
    axes.set_ylim(-2, 102)
    kind = "area" if len(lines) == 1 else "mean area"
    mean = f"{sum(areas) / len(areas):.3f}" if areas else "undefined"
    style_axes(axes, look, title=f"{title}, {kind} {mean}")
    known = [index for index, line in enumerate(lines) if line.area is not None]
    lowest = sorted(known, key=lambda index: lines[index].area or 0.0)[: len(look.series)]
    for index in sorted(set(known) - set(lowest)):
        x, y = 100 * lines[index].x, 100 * lines[index].y
        axes.plot(x, y, color=look.quiet, linewidth=0.7, alpha=0.6, drawstyle=drawstyle)
    for color, index in zip(look.series, sorted(lowest), strict=False):
        x, y = 100 * lines[index].x, 100 * lines[index].y
        label = f"{lines[index].name}, area {lines[index].area:.3f}"
        axes.plot(x, y, color=color, linewidth=1.8, drawstyle=drawstyle, label=label)
    if len(lines) > 1 or with_names:
        _legend(figure, axes, lines, lowest, look)
    return figure, look


def _legend(
    figure: Figure, axes: Axes, lines: Sequence[_Line], lowest: Sequence[int], look: Look
) -> None:
    """Name the colored curves, and count the others."""
    from matplotlib.lines import Line2D

    handles, labels = axes.get_legend_handles_labels()
    others = [
        line.area
        for index, line in enumerate(lines)
        if line.area is not None and index not in lowest
    ]
    if others:
        handles.append(Line2D([], [], color=look.quiet, linewidth=0.7, alpha=0.6))
        noun = "other" if len(others) == 1 else "others"
        labels.append(f"{len(others)} {noun}, area from {min(others):.3f}")
    undefined = [line.name for line in lines if line.area is None]
    if len(undefined) > len(look.series):
        undefined = [f"{len(undefined)} labels"]
    handles += [Line2D([], [], linestyle="") for _ in undefined]
    labels += [f"{name}, area undefined" for name in undefined]
    columns = max(1, min(3, _LEGEND_WIDTH // (max(map(len, labels)) + 6)))
    add_legend(figure, look, handles, labels, columns=columns)
