"""The sections about a classifier with several labels for each example."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from mlpkit._checks import error_message
from mlpkit.data import LabeledTensors
from mlpkit.models import MultilabelClassifier
from mlpkit.plots import LabelCurves, label_curves, reliability
from mlpkit.report._calibration import CalibrationWords, calibration_sections
from mlpkit.report._charts import Line, line_chart
from mlpkit.report._sections import Column, Findings, class_table, key_legend, section

__all__ = ["multilabel_findings"]

_NUM_COLORS = 6
_NUM_STEPS = 300  # on a chart, points that are nearer to each other than this are one
_WORDS = CalibrationWords(
    confidence="probability of the label", outcome="present labels", count="labels"
)


def multilabel_findings(model: MultilabelClassifier, test: LabeledTensors) -> Findings:
    """Return metrics, labels, ROC curves, precision-recall curves and calibration.

    Raises:
        TypeError: If the targets are class indices.
        ValueError: If they have another shape than those of the model.
    """
    if not test.targets.is_floating_point():
        rule = "floating-point labels in [0, 1]"
        raise TypeError(error_message("targets of run.test", rule, test.targets.dtype))
    probabilities = model.predict_proba(test.inputs).cpu()
    if probabilities.shape != test.targets.shape:
        rule = f"of shape {tuple(probabilities.shape)}"
        raise ValueError(error_message("targets of run.test", rule, tuple(test.targets.shape)))
    evaluation = model.evaluate(test)
    curves = label_curves(probabilities, test.targets, classes=model.classes)
    count = evaluation.num_examples * len(model.classes)
    is_single = len(model.classes) == 1
    exact = () if is_single else (("exact match", f"{100 * evaluation.exact_match:.2f} %"),)
    return Findings(
        metrics=(
            (
                "test accuracy" if is_single else "accuracy of the labels",
                f"{100 * evaluation.accuracy:.2f} %",
            ),
            *exact,
            (
                "test errors" if is_single else "wrong labels",
                f"{round(evaluation.error * count):,}<small> of {count:,}</small>",
            ),
            ("test loss [nats]", f"{evaluation.loss:.4f}"),
            ("calibration error", f"{100 * evaluation.calibration_error:.2f} %"),
        ),
        sections=(
            section(
                "Labels",
                class_table(
                    "label",
                    evaluation.per_label,
                    (
                        Column(name="threshold", cells=_cells(model.thresholds.tolist(), ".2f")),
                        Column(
                            name="ROC area",
                            cells=_cells([one.roc_auc for one in curves], ".3f"),
                            is_spare=True,
                        ),
                        Column(
                            name="average precision",
                            cells=_cells([one.average_precision for one in curves], ".3f"),
                            is_spare=True,
                        ),
                    ),
                ),
            ),
            _roc(curves),
            _precision_recall(curves),
            calibration_sections(
                reliability(probabilities, test.targets, num_bins=10), _WORDS, _note(model)
            ),
        ),
        score=f"Accuracy {'' if is_single else 'of the labels '}{100 * evaluation.accuracy:.2f} %",
    )


def _note(model: MultilabelClassifier) -> str:
    """Return what the diagram pools, and the fitted temperatures."""
    note = "" if len(model.classes) == 1 else " All labels are pooled."
    low, high = (f"{float(bound):.2f}" for bound in torch.aminmax(model.temperature))
    if low == high == "1.00":
        return note
    values = low if low == high else f"from {low} to {high}"
    return f"{note} The fitted temperature is {values}."


def _cells(values: Iterable[float | None], spec: str) -> tuple[str, ...]:
    """Format the cells of a column; None is a value that is not defined."""
    return tuple("undefined" if value is None else format(value, spec) for value in values)


def _roc(curves: Sequence[LabelCurves]) -> str:
    lines = _lines(
        curves,
        lambda one: one.roc_auc,
        lambda one: np.stack([one.false_positive_rate, one.recall], 1),
    )
    return section(
        "ROC",
        _chart(
            [Line(label="", points=[(0, 0), (100, 100)], style="ideal"), *lines],
            title="True positive rate against false positive rate",
            x_label="false positive rate [%]",
            y_label="true positive rate [%]",
        ),
        wide=False,
    )


def _precision_recall(curves: Sequence[LabelCurves]) -> str:
    lines = _lines(
        curves,
        lambda one: one.average_precision,
        lambda one: _steps(np.stack([one.recall, one.precision], 1)),
    )
    return section(
        "Precision and recall",
        _chart(
            lines,
            title="Precision against recall",
            x_label="recall [%]",
            y_label="precision [%]",
        ),
        wide=False,
    )


def _chart(lines: Sequence[Line], *, title: str, x_label: str, y_label: str) -> str:
    """Return a chart of percentages with a legend of the lines that have a label."""
    if not any(line.label for line in lines):
        return "<p>No label is present in some examples and absent in others.</p>"
    chart = line_chart(
        lines, title=title, x_label=x_label, y_label=y_label, x_range=(0, 100), y_range=(0, 100)
    )
    named = sorted((line for line in lines if line.label), key=lambda line: "other" in line.style)
    return chart + key_legend((line.label, line.style) for line in named)


def _lines(
    curves: Sequence[LabelCurves],
    area: Callable[[LabelCurves], float | None],
    points: Callable[[LabelCurves], npt.NDArray[np.float64]],
) -> list[Line]:
    """Return the curves that are defined; those with the smallest areas have colors, and labels."""
    known = [(found, one) for one in curves if (found := area(one)) is not None]
    ranked = sorted(range(len(known)), key=lambda index: known[index][0])
    lowest, others = sorted(ranked[:_NUM_COLORS]), ranked[_NUM_COLORS:]
    lines = []
    for position, index in enumerate(others):
        found, one = known[index]
        noun = "other" if len(others) == 1 else "others"
        label = "" if position else f"{len(others)} {noun}, area from {found:.3f}"
        lines.append(Line(label=label, points=_thinned(points(one)), style="curve other"))
    for color, index in enumerate(lowest):
        found, one = known[index]
        label = f"{one.name}, area {found:.3f}" if len(curves) > 1 else f"area {found:.3f}"
        lines.append(Line(label=label, points=_thinned(points(one)), style=f"curve c{color}"))
    return lines


def _steps(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the corners of steps: each y holds from the preceding x to its x."""
    corners = np.repeat(points, 2, axis=0)[1:]
    corners[1::2, 0] = points[:-1, 0]
    return corners


def _thinned(points: npt.NDArray[np.float64]) -> list[tuple[float, float]]:
    """Return points in percent without those that are at the same place of the chart."""
    places = np.round(points * _NUM_STEPS)
    is_new = np.append(True, (places[1:] != places[:-1]).any(axis=1))
    return [(100 * float(x), 100 * float(y)) for x, y in points[is_new]]
