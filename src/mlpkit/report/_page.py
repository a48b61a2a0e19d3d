"""The report: metrics, curves, classes, mistakes, calibration, network and versions on one page."""

from __future__ import annotations

import base64
import html
import io
import platform
import string
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from torch import Tensor

from mlpkit._checks import error_message
from mlpkit._files import write_atomically
from mlpkit.data import LabeledTensors, contact_sheet
from mlpkit.models import SoftmaxClassifier
from mlpkit.nn import activation_statistics
from mlpkit.plots import find_mistakes, first_layer_images, reliability
from mlpkit.report._charts import Line, line_chart
from mlpkit.report._network import layer_charts, layer_table, weight_images
from mlpkit.report._run import Run, read_run
from mlpkit.training import Evaluation, History

__all__ = ["write_report"]

_NUM_MISTAKES = 24
_NUM_WEIGHTS = 48
_NUM_MEASURED = 1000  # examples for the activation statistics
_PACKAGES = ("mlpkit", "torch", "numpy", "safetensors")


def write_report(run: Run | str | Path, path: str | Path) -> Path:
    """Write the report of a run as one self-contained HTML file, and return its path.

    The page needs no network connection, contains no scripts, supports light and dark mode and fits
    narrow screens. All metrics are computed on the test set when the report is written.

    Args:
        run: A finished run, or its folder written by ``mlpkit train``.
        path: The HTML file, which is replaced if it exists.

    Raises:
        TypeError: If ``run`` is of another type, or the targets of its test set are not class
            indices.
        ConfigError: If the folder is not that of a finished run.
        OSError: If the file cannot be written; an older one is then unchanged.

    Example:
        >>> import tempfile
        >>> from mlpkit import History, SoftmaxClassifier
        >>> from mlpkit.data import digits
        >>> from mlpkit.report import Run, write_report
        >>> splits = digits()
        >>> model = SoftmaxClassifier.for_data(splits.train, (8,))
        >>> run = Run(title="untrained", model=model, test=splits.test, history=History())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_report(run, f"{folder}/report.html").name
        'report.html'
    """
    if isinstance(run, str | Path):
        run = read_run(run)
    if not isinstance(run, Run):
        raise TypeError(error_message("run", "a Run or the folder of a run", run))
    page = _render(run)
    return write_atomically(path, lambda file: file.write(page.encode(errors="backslashreplace")))


def _render(run: Run) -> str:
    """Return the page; its Content-Security-Policy forbids scripts and external resources."""
    evaluation, probabilities = _evaluate(run.model, run.test)
    sections = [
        _metrics(run, evaluation),
        _curves(run.history),
        _classes(evaluation),
        _confusion(evaluation),
        _mistakes(run.model, run.test),
        _calibration(probabilities, run.test.targets.cpu(), float(run.model.temperature)),
        _first_layer(run.model),
        _layer_health(run),
        _section("Network", f"<pre>{html.escape(str(run.model.network.summary()))}</pre>"),
        _section("Options", f'<pre class="columns">{html.escape(run.config)}</pre>')
        if run.config
        else "",
        _versions(),
    ]
    folder = files("mlpkit.report")
    return string.Template(folder.joinpath("page.html").read_text(encoding="utf-8")).substitute(
        title=html.escape(run.title),
        style=folder.joinpath("style.css").read_text(encoding="utf-8"),
        sections="\n".join(sections),
    )


def _evaluate(model: SoftmaxClassifier, test: LabeledTensors) -> tuple[Evaluation, Tensor]:
    """Return the metrics on the test set, and the probabilities of each example."""
    if test.targets.is_floating_point():
        raise TypeError(error_message("targets of run.test", "class indices", test.targets.dtype))
    return model.evaluate(test), model.predict_proba(test.inputs).cpu()


def _section(title: str, content: str, *, wide: bool = True) -> str:
    kind = "wide" if wide else "half"
    return f'<section class="{kind}"><h2>{html.escape(title)}</h2>{content}</section>'


def _metrics(run: Run, evaluation: Evaluation) -> str:
    rows = [
        ("test accuracy", f"{100 * evaluation.accuracy:.2f} %"),
        ("test errors", f"{round(evaluation.error * evaluation.num_examples):,}"
                  f"<small> of {evaluation.num_examples:,}</small>"),
        ("test loss [nats]", f"{evaluation.loss:.4f}"),
        ("calibration error", f"{100 * evaluation.calibration_error:.2f} %"),
        ("parameters", f"{run.model.network.num_parameters:,}"),
    ]  # fmt: skip
    if len(run.history):
        rows.append(("epochs", f"{run.history[-1].epoch + 1:,}"))
        rows.append(("training time", _format_duration(sum(row.seconds for row in run.history))))
    tiles = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in rows)
    return f'<dl class="metrics wide">{tiles}</dl>'


def _format_duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _legend(entries: Iterable[tuple[str, str]]) -> str:
    items = "".join(f'<span class="key {style}">{label}</span>' for label, style in entries)
    return f'<p class="legend">{items}</p>'


def _curves(history: History) -> str:
    if not len(history):
        return ""
    train = [(row.epoch + 1.0, row.train_loss) for row in history]
    val = [(row.epoch + 1.0, row.val_loss) for row in history if row.val_loss is not None]
    losses = [loss for _, loss in train + val]
    lines = [Line(label="training", points=train, style="second")]
    if val:
        lines.append(Line(label="validation", points=val, style="first"))
    loss = line_chart(
        lines,
        title="Loss over the epochs",
        x_label="epoch",
        y_label="loss [nats]",
        log=min(losses) > 0 and max(losses) >= 10 * min(losses),
        whole_x=True,
    )
    keys = _legend((line.label, line.style) for line in lines)
    sections = _section("Loss", loss + keys, wide=False)
    errors = [
        (row.epoch + 1.0, 100 * row.val_error) for row in history if row.val_error is not None
    ]
    if errors:
        error, epoch = min((error, epoch) for epoch, error in errors)
        chart = line_chart(
            [Line(label="validation", points=errors, style="first")],
            title="Validation error over the epochs",
            x_label="epoch",
            y_label="error [%]",
            whole_x=True,
        )
        legend = f'<p class="legend">Lowest error: {error:.2f} % in epoch {epoch:.0f}.</p>'
        sections += _section("Validation error", chart + legend, wide=False)
    return sections


def _classes(evaluation: Evaluation) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("precision", "recall", "F1", "examples"))
    lowest = min(min(row.precision, row.recall, row.f1) for row in evaluation.per_class)
    span = (1.0 - lowest) or 1.0
    rows = "".join(
        f'<tr><th scope="row">{html.escape(row.name)}</th>'
        + "".join(
            f'<td class="share" style="--share:{(1 - value) / span:.3f}">{100 * value:.1f} %</td>'
            for value in (row.precision, row.recall, row.f1)
        )
        + f"<td>{row.support:,}</td></tr>"
        for row in evaluation.per_class
    )
    table = f'<table class="classes"><tr><th>class</th>{head}</tr>{rows}</table>'
    legend = (
        '<p class="legend">More color means a lower value: no color at 100 %, full color at '
        f"{100 * lowest:.1f} %.</p>"
    )
    return _section("Classes", f'<div class="scroll">{table}</div>{legend}', wide=False)


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
    return _section("Confusion matrix", f'<div class="scroll">{table}</div>{legend}', wide=False)


def _mistakes(model: SoftmaxClassifier, test: LabeledTensors) -> str:
    inputs = test.inputs.cpu()
    if inputs.ndim not in (3, 4) or (inputs.ndim == 4 and inputs.shape[1] not in (1, 3)):
        return ""  # the inputs are not images
    found = find_mistakes(model, test, _NUM_MISTAKES)
    if not found:
        return _section("Worst mistakes", f"<p>No mistakes in {len(test):,} examples.</p>")
    high = float(inputs.max()) or 1.0
    figures = "".join(
        f'<figure><img alt="example {mistake.index}" src="{_png(inputs[mistake.index] / high)}">'
        f"<figcaption>{html.escape(model.classes[mistake.true])} \N{RIGHTWARDS ARROW} "
        f"<b>{html.escape(model.classes[mistake.predicted])}</b><br>"
        f"{_format_percent(mistake.probability)}</figcaption></figure>"
        for mistake in found
    )
    legend = (
        '<p class="legend">True class \N{RIGHTWARDS ARROW} <b>predicted class</b>, with the '
        "probability of the predicted class, in descending order of the loss.</p>"
    )
    return _section("Worst mistakes", f'<div class="images">{figures}</div>{legend}')


def _format_percent(probability: float) -> str:
    """Format a probability in percent; a probability below 1 is never rounded to 100 %."""
    return "&gt;99.9 %" if probability > 0.9995 else f"{100 * probability:.1f} %"


def _png(image: Tensor) -> str:
    """Return an image with values in [0, 1] as a data URL."""
    file = io.BytesIO()
    contact_sheet(image[None].float(), zoom=1, gap=0).save(file, format="PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _calibration(probabilities: Tensor, targets: Tensor, temperature: float) -> str:
    measured = reliability(probabilities, targets, num_bins=10)
    percent: Sequence[tuple[float, float]] = [
        (100 * b.confidence, 100 * b.accuracy) for b in measured.bins
    ]
    chart = line_chart(
        [
            Line(label="", points=[(0, 0), (100, 100)], style="ideal"),
            Line(
                label="measured",
                points=percent,
                style="first",
                intervals=[(100 * b.interval[0], 100 * b.interval[1]) for b in measured.bins],
            ),
        ],
        title="Accuracy against the probability of the predicted class",
        x_label="probability of the predicted class [%]",
        y_label="accuracy [%]",
        x_range=(0, 100),
        y_range=(0, 100),
    )
    fitted = "" if temperature == 1.0 else f" The temperature of the softmax is {temperature:.2f}."
    legend = (
        '<p class="legend">A perfectly calibrated classifier is on the dashed line. Bars: 95 % '
        f"confidence intervals.{fitted}</p>"
    )
    rows = "".join(
        f"<tr><td>{100 * b.lower:.0f} to {100 * b.upper:.0f} %</td><td>{b.count:,}</td>"
        f"<td>{100 * b.confidence:.1f} %</td><td>{100 * b.accuracy:.1f} %</td></tr>"
        for b in measured.bins
    )
    head = "".join(f"<th>{n}</th>" for n in ("confidence", "examples", "mean", "accuracy"))
    table = f'<div class="scroll"><table class="classes"><tr>{head}</tr>{rows}</table></div>'
    table += '<p class="legend">Confidence: the probability of the predicted class.</p>'
    return _section("Calibration", chart + legend, wide=False) + _section(
        "Accuracy by confidence", table, wide=False
    )


def _first_layer(model: SoftmaxClassifier) -> str:
    try:
        found = first_layer_images(model, count=_NUM_WEIGHTS)
    except ValueError:  # the inputs are not gray images
        return ""
    return _section("First layer", weight_images(found))


def _layer_health(run: Run) -> str:
    model = run.model
    if not len(model.network.layers):
        return ""
    inputs = run.test.inputs[:_NUM_MEASURED].to(model.mean.device)
    statistics = activation_statistics(model.network, model.standardize(inputs))
    charts = layer_charts(run.layer_health) if len(run.layer_health) > 1 else ""
    return _section("Hidden layers", charts + layer_table(statistics))


def _versions() -> str:
    rows = [(name, version(name)) for name in _PACKAGES]
    rows += [("Python", platform.python_version()), ("system", platform.platform())]
    cells = "".join(
        f'<tr><th scope="row">{name}</th><td>{html.escape(value)}</td></tr>' for name, value in rows
    )
    table = f'<div class="scroll"><table class="versions">{cells}</table></div>'
    return _section("Versions at the time of writing", table)
