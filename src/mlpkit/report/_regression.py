"""The sections about a regressor."""

from __future__ import annotations

import html
from collections.abc import Sequence

import torch
from torch import Tensor

from mlpkit._checks import error_message
from mlpkit.data import LabeledTensors
from mlpkit.models import Regressor
from mlpkit.report._charts import Line, histogram, line_chart
from mlpkit.report._sections import Findings, format_number, section, table
from mlpkit.training.metrics import TargetMetrics

__all__ = ["regression_findings"]

_STD_NOTE = (
    " Within predicted std: the fraction of the residuals that are at most one predicted standard "
    "deviation; 68.3 % if the residuals are normally distributed and their predicted size is right."
)
_LOSS_NOTE = (
    "The loss is that of targets in standard deviations of the training set. By default it is the "
    "mean squared error, which is 1 if the mean of the training set is predicted for each of its "
    "examples."
)
_NUM_CHARTS = 6  # targets with charts
_NUM_ROWS = 50  # targets in the table
_NUM_ERRORS = 10
_NUM_POINTS = 1000  # on a chart


def regression_findings(model: Regressor, test: LabeledTensors) -> Findings:
    """Return metrics, targets, predictions against true values, residuals and largest errors.

    Raises:
        TypeError: If the targets are class indices.
        ValueError: If they have another shape than those of the model.
    """
    if not test.targets.is_floating_point():
        raise TypeError(error_message("targets of run.test", "floating-point", test.targets.dtype))
    predictions = model.predict(test.inputs).cpu()
    if predictions.shape != test.targets.shape:
        rule = f"of shape {tuple(predictions.shape)}"
        raise ValueError(error_message("targets of run.test", rule, tuple(test.targets.shape)))
    evaluation = model.evaluate(test)
    per_target = evaluation.per_target
    true = test.targets.cpu().double().reshape(len(test), -1)
    predicted = predictions.double().reshape(len(test), -1)
    metrics = [
        ("test RMSE", format_number(evaluation.rmse)),
        ("mean absolute error", format_number(evaluation.mae)),
        ("R²", f"{evaluation.r2:.4f}"),
        ("test loss", f"{evaluation.loss:.4f}"),
        ("test examples", f"{evaluation.num_examples:,}"),
    ]
    note = ""
    if model.predicts_std:
        stds = model.predict_std(test.inputs).cpu().double().reshape(len(test), -1)
        inside = float(((true - predicted).abs() <= stds).double().mean())
        metrics.append(("within predicted std", f"{100 * inside:.1f} %"))
        note = _STD_NOTE
    is_single = len(per_target) == 1
    errors = _largest_errors(model, per_target, true, predicted)
    charts = [
        _charts(one, true[:, index], predicted[:, index], is_single=is_single, note=note)
        for index, one in enumerate(per_target[:_NUM_CHARTS])
    ]
    return Findings(
        metrics=tuple(metrics),
        sections=(
            section("Largest errors", errors, wide=False)  # beside the loss
            if is_single
            else section("Targets", _targets(per_target, true), wide=False),
            *charts,
            "" if is_single else section("Largest errors", errors),
        ),
        score=f"R² {evaluation.r2:.4f}",
        loss_label="loss",
        loss_note="" if model.predicts_std else _LOSS_NOTE,
    )


def _targets(per_target: Sequence[TargetMetrics], true: Tensor) -> str:
    """Return the table with the metrics of each target."""
    spare = ' class="spare"'
    head = f"<th>target</th><th>RMSE</th><th>MAE</th><th>R²</th><th{spare}>mean</th>"
    head += f"<th{spare}>std</th>"
    std, mean = torch.std_mean(true, 0, correction=0)
    rows = (
        f'<tr><th scope="row">{html.escape(one.name)}</th><td>{format_number(one.rmse)}</td>'
        f"<td>{format_number(one.mae)}</td><td>{one.r2:.4f}</td>"
        f"<td{spare}>{format_number(float(mean[index]))}</td>"
        f"<td{spare}>{format_number(float(std[index]))}</td></tr>"
        for index, one in enumerate(per_target[:_NUM_ROWS])
    )
    hidden = len(per_target) - _NUM_ROWS
    more = f" The other {hidden:,} targets are left out." if hidden > 0 else ""
    legend = (
        '<p class="legend">RMSE: root mean squared error. MAE: mean absolute error. R²: '
        "coefficient of determination. Mean and std are those of the true values. All but R² are "
        f"in the units of the target.{more}</p>"
    )
    return table(head, rows) + legend


def _charts(
    one: TargetMetrics, true: Tensor, predicted: Tensor, *, is_single: bool, note: str
) -> str:
    """Return the section with the three charts of one target; both tensors are ``(N,)``."""
    residual = true - predicted
    values = torch.cat([true, predicted])
    limits = _limits(float(values.min()), float(values.max()))
    x_limits = _limits(float(predicted.min()), float(predicted.max()))
    largest = float(residual.abs().max())
    symmetric = _limits(-largest, largest)
    shown = torch.linspace(0, len(true) - 1, min(_NUM_POINTS, len(true))).long()
    x, y, z = (column[shown].tolist() for column in (true, predicted, residual))
    charts = (
        (
            "Predicted against true",
            line_chart(
                [
                    Line(label="", points=[(limits[0],) * 2, (limits[1],) * 2], style="ideal"),
                    _dots(x, y),
                ],
                title=f"{one.name}: predicted against true value",
                x_label="true value",
                y_label="predicted value",
                x_range=limits,
                y_range=limits,
                small=True,
            ),
        ),
        (
            "Residuals",
            line_chart(
                [
                    Line(label="", points=[(edge, 0.0) for edge in x_limits], style="ideal"),
                    _dots(y, z),
                ],
                title=f"{one.name}: true minus predicted value against predicted value",
                x_label="predicted value",
                y_label="true minus predicted",
                x_range=x_limits,
                y_range=symmetric,
                small=True,
            ),
        ),
        (
            "Distribution of the residuals",
            line_chart(
                [
                    Line(
                        label="",
                        points=histogram(residual.tolist(), symmetric),
                        style="first",
                        shape="area",
                    )
                ],
                title=f"{one.name}: histogram of true minus predicted value",
                x_label="true minus predicted value",
                y_label="examples",
                x_range=symmetric,
                whole_y=True,
                small=True,
            ),
        ),
    )
    panels = "".join(f"<div><h3>{title}</h3>{chart}</div>" for title, chart in charts)
    number = (
        f"{len(shown):,} of {len(true):,} test examples"
        if len(shown) < len(true)
        else f"all {len(true):,} test examples"
    )
    legend = (
        f'<p class="legend">The points are {number}. A perfect prediction is on the dashed line. '
        f"A residual is the true minus the predicted value.{note}</p>"
    )
    title = "Predictions" if is_single else f"Predictions of {one.name}"
    return section(title, f'<div class="three">{panels}</div>{legend}')


def _dots(x: Sequence[float], y: Sequence[float]) -> Line:
    return Line(label="", points=list(zip(x, y, strict=True)), style="first", shape="dots")


def _limits(low: float, high: float) -> tuple[float, float]:
    """Return the limits of an axis with a margin; equal values get a range around them."""
    margin = 0.04 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def _largest_errors(
    model: Regressor, per_target: Sequence[TargetMetrics], true: Tensor, predicted: Tensor
) -> str:
    """Return the table of the largest errors in standard deviations of their targets."""
    is_single = len(per_target) == 1
    scale = model.target_std.detach().cpu().double()
    scaled = (true - predicted) / scale
    order = scaled.abs().flatten().argsort(descending=True, stable=True)[:_NUM_ERRORS]
    names = ("example", "target", "true", "predicted", "difference", "in stds")
    head = "".join(f"<th>{name}</th>" for name in names if not (is_single and name == "target"))
    rows = []
    for position in order.tolist():
        example, target = divmod(position, len(per_target))
        name = html.escape(per_target[target].name)
        value, found = float(true[example, target]), float(predicted[example, target])
        rows.append(
            f"<tr><td>{example:,}</td>"
            + ("" if is_single else f"<td>{name}</td>")
            + f"<td>{format_number(value)}</td><td>{format_number(found)}</td>"
            f"<td>{format_number(value - found)}</td>"
            f"<td>{float(scaled[example, target]):.2f}</td></tr>"
        )
    legend = (
        '<p class="legend">Example: index in the test set, from 0. Difference: true minus '
        "predicted value. Stds: standard deviations of the target in the training set.</p>"
    )
    return table(head, rows) + legend
