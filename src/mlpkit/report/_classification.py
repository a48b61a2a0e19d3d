"""The sections about a classifier with one class for each example."""

from __future__ import annotations

import html

from torch import Tensor

from mlpkit._checks import error_message
from mlpkit.data import LabeledTensors, contact_sheet
from mlpkit.models import SoftmaxClassifier
from mlpkit.plots import find_mistakes, reliability
from mlpkit.report._calibration import CalibrationWords, calibration_sections
from mlpkit.report._sections import Findings, class_table, format_percent, png_url, section
from mlpkit.training import Evaluation

__all__ = ["classification_findings"]

_NUM_MISTAKES = 24
_WORDS = CalibrationWords(
    confidence="probability of the predicted class", outcome="accuracy", count="examples"
)


def classification_findings(model: SoftmaxClassifier, test: LabeledTensors) -> Findings:
    """Return metrics, classes, confusion matrix, worst mistakes and calibration.

    Raises:
        TypeError: If the targets are not class indices.
    """
    if test.targets.is_floating_point():
        raise TypeError(error_message("targets of run.test", "class indices", test.targets.dtype))
    evaluation = model.evaluate(test)
    probabilities = model.predict_proba(test.inputs).cpu()
    temperature = float(model.temperature)
    note = "" if temperature == 1.0 else f" The temperature of the softmax is {temperature:.2f}."
    measured = reliability(probabilities, test.targets.cpu(), num_bins=10)
    return Findings(
        metrics=(
            ("test accuracy", f"{100 * evaluation.accuracy:.2f} %"),
            (
                "test errors",
                f"{round(evaluation.error * evaluation.num_examples):,}"
                f"<small> of {evaluation.num_examples:,}</small>",
            ),
            ("test loss [nats]", f"{evaluation.loss:.4f}"),
            ("calibration error", f"{100 * evaluation.calibration_error:.2f} %"),
        ),
        sections=(
            section("Classes", class_table("class", evaluation.per_class), wide=False),
            _confusion(evaluation),
            _mistakes(model, test),
            calibration_sections(measured, _WORDS, note),
        ),
        score=f"Accuracy {100 * evaluation.accuracy:.2f} %",
    )


def _confusion(evaluation: Evaluation) -> str:
    names = [html.escape(row.name) for row in evaluation.per_class]
    counts = evaluation.confusion.tolist()
    shares = [[count / max(1, sum(row)) for count in row] for row in counts]
    largest = max(
        (share for i, row in enumerate(shares) for j, share in enumerate(row) if i != j),
        default=0.0,
    )
    rows = []
    for i, (name, row) in enumerate(zip(names, counts, strict=True)):
        cells = []
        for j, count in enumerate(row):
            strength = shares[i][j] if i == j else shares[i][j] / (largest or 1.0)
            kind = "right" if i == j else "wrong"
            strong = " strong" if i == j and strength > 0.6 else ""
            cells.append(
                f'<td class="{kind}{strong}" style="--share:{strength:.3f}"'
                f' title="{name} predicted as {names[j]}: {count}">{count or ""}</td>'
            )
        rows.append(f'<tr><th scope="row">{name}</th>{"".join(cells)}</tr>')
    head = "".join(f'<th scope="col"><span>{name}</span></th>' for name in names)
    is_long = max(len(row.name) for row in evaluation.per_class) > 3
    style = "confusion long" if is_long else "confusion"
    table = f'<table class="{style}"><tr><th></th>{head}</tr>{"".join(rows)}</table>'
    legend = (
        '<p class="legend">Rows: true class. Columns: predicted class. Numbers: examples. Blue: '
        f"correct. Orange: errors, full color at {100 * largest:.1f} % of the true class.</p>"
    )
    return section("Confusion matrix", f'<div class="scroll">{table}</div>{legend}', wide=False)


def _mistakes(model: SoftmaxClassifier, test: LabeledTensors) -> str:
    inputs = test.inputs.cpu()
    if inputs.ndim not in (3, 4) or (inputs.ndim == 4 and inputs.shape[1] not in (1, 3)):
        return ""  # the inputs are not images
    found = find_mistakes(model, test, count=_NUM_MISTAKES)
    if not found:
        return section("Worst mistakes", f"<p>No mistakes in {len(test):,} examples.</p>")
    high = float(inputs.max()) or 1.0
    figures = "".join(
        f'<figure><img alt="example {mistake.index}" src="{_png(inputs[mistake.index] / high)}">'
        f"<figcaption>{html.escape(model.classes[mistake.true])} \N{RIGHTWARDS ARROW} "
        f"<b>{html.escape(model.classes[mistake.predicted])}</b><br>"
        f"{format_percent(mistake.probability)}</figcaption></figure>"
        for mistake in found
    )
    legend = (
        '<p class="legend">True class \N{RIGHTWARDS ARROW} <b>predicted class</b>, with the '
        "probability of the predicted class, in descending order of the loss.</p>"
    )
    return section("Worst mistakes", f'<div class="images">{figures}</div>{legend}')


def _png(image: Tensor) -> str:
    """Return an image with values in [0, 1] as a data URL."""
    return png_url(contact_sheet(image[None].float(), zoom=1, gap=0))
