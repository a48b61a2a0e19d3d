"""The report: one page about a run, assembled from sections."""

from __future__ import annotations

import html
import platform
import string
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from mlpkit._checks import error_message
from mlpkit._files import write_atomically
from mlpkit.models import MultilabelClassifier, SoftmaxClassifier
from mlpkit.report._classification import classification_findings
from mlpkit.report._curves import curve_sections
from mlpkit.report._multilabel import multilabel_findings
from mlpkit.report._network import network_sections
from mlpkit.report._regression import regression_findings
from mlpkit.report._run import Run, read_run
from mlpkit.report._sections import Findings, section
from mlpkit.report._summary_line import summary_line

__all__ = ["write_report"]

_PACKAGES = ("mlpkit", "torch", "numpy", "safetensors")


def write_report(run: Run | str | Path, path: str | Path) -> Path:
    """Write the report of a run as one self-contained HTML file, and return its path.

    The page needs no network connection, contains no scripts, supports light and dark mode and fits
    narrow screens. All metrics are computed on the test set when the report is written.

    All pages have the learning curves, the weights of the first layer as images, the hidden layers
    and the options. For a :class:`mlpkit.SoftmaxClassifier` the page also has the metrics of each
    class, the confusion matrix, the worst mistakes and the calibration; for a
    :class:`mlpkit.MultilabelClassifier` the metrics of each label, ROC and precision-recall curves
    and the calibration; for a :class:`mlpkit.Regressor` the metrics of each target, the predictions
    against the true values, the residuals and the largest errors.

    Args:
        run: A finished run, or its folder written by ``mlpkit train``.
        path: The HTML file, which is replaced if it exists.

    Raises:
        TypeError: If ``run`` is of another type, or the targets of its test set are of another
            kind than those of the model: not class indices for a ``SoftmaxClassifier``, not
            floating-point for the others.
        ValueError: If the targets have another shape than those of the model.
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
    findings = _findings(run)
    sections = [
        _metrics(run, findings),
        curve_sections(run.history, loss_label=findings.loss_label, loss_note=findings.loss_note),
        *findings.sections,
        *network_sections(run),
        section("Options", f'<pre class="columns">{html.escape(run.config)}</pre>')
        if run.config
        else "",
        _versions(),
    ]
    folder = files("mlpkit.report")
    return string.Template(folder.joinpath("page.html").read_text(encoding="utf-8")).substitute(
        title=html.escape(run.title),
        summary=summary_line(run, findings.score),
        style=folder.joinpath("style.css").read_text(encoding="utf-8"),
        sections="\n".join(sections),
    )


def _findings(run: Run) -> Findings:
    """Return the metrics and the sections of the kind of the model."""
    if isinstance(run.model, SoftmaxClassifier):
        return classification_findings(run.model, run.test)
    if isinstance(run.model, MultilabelClassifier):
        return multilabel_findings(run.model, run.test)
    return regression_findings(run.model, run.test)


def _metrics(run: Run, findings: Findings) -> str:
    rows = [*findings.metrics, ("parameters", f"{run.model.network.num_parameters:,}")]
    if len(run.history):
        rows.append(("epochs", f"{run.history[-1].epoch + 1:,}"))
        rows.append(("training time", _format_duration(sum(row.seconds for row in run.history))))
    tiles = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in rows)
    return f'<dl class="metrics wide">{tiles}</dl>'


def _format_duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _versions() -> str:
    rows = [(name, version(name)) for name in _PACKAGES]
    rows += [("Python", platform.python_version()), ("system", platform.platform())]
    cells = "".join(
        f'<tr><th scope="row">{name}</th><td>{html.escape(value)}</td></tr>' for name, value in rows
    )
    table = f'<div class="scroll"><table class="versions">{cells}</table></div>'
    return section("Versions at the time of writing", table)
