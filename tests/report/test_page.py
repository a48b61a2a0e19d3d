"""The report: its values, its self-containedness and its atomic replacement."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from tests.report.histories import falling_history
from tests.report.kinds import labels_example, regression_example

from mlpkit import SoftmaxClassifier
from mlpkit.data import LabeledTensors, digits
from mlpkit.nn import activation_statistics
from mlpkit.plots import find_mistakes
from mlpkit.report import Run, write_report
from mlpkit.training import History
from mlpkit.training.metrics import ClassificationAccumulator


def example_run(title: str = "a run", *, classes: tuple[str, ...] | None = None) -> Run:
    """Return a run with an untrained classifier of the digits and an invented history."""
    splits = digits()
    train = LabeledTensors(
        splits.train.inputs, splits.train.targets, classes or splits.train.classes
    )
    generator = torch.Generator().manual_seed(0)

    return Run(
        title=title,
        model=SoftmaxClassifier.for_data(train, (16,), generator=generator),
        test=LabeledTensors(splits.test.inputs, splits.test.targets, train.classes),
        history=falling_history(6, seconds=1.5),
        config='dataset = "<digits>"\n',
    )


class Page(HTMLParser):
    """The texts of a page by their tag, and all its addresses."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cells: dict[str, list[str]] = {}
        self.addresses: list[str] = []
        self.tags: set[str] = set()
        self._tag = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.cells.setdefault(self._tag, []).append(data)


def test_the_metrics_are_those_of_the_classifier(tmp_path: Path) -> None:
    """Oracle: the metrics of the classifier's logits."""
    run = example_run()
    path = write_report(run, tmp_path / "report.html")
    text = path.read_text(encoding="utf-8")
    assert isinstance(run.model, SoftmaxClassifier)
    metrics = ClassificationAccumulator(run.model.classes)
    metrics.update(run.model.eval()(run.test.inputs), run.test.targets)
    expected = metrics.compute()
    shown = [cell for cell in Page(text).cells["dd"] if cell.strip()]
    assert shown[0] == f"{100 * expected.accuracy:.2f} %"
    assert shown[1] == f"{round(360 * expected.error)}"
    assert f">{shown[1]}<small> of 360</small></dd>" in text
    assert float(shown[2]) == pytest.approx(expected.loss, abs=1e-4)
    assert shown[3] == f"{100 * expected.calibration_error:.2f} %"
    assert shown[4] == f"{run.model.network.num_parameters:,}"
    assert shown[5:] == ["6", "9.0 s"]
    assert f"<p>Accuracy {shown[0]} on 360 test examples. Network 64 → 16 → 10 with ReLU, " in text
    counts = re.findall(r'title="(\d) predicted as (\d): (\d+)">', text)
    assert {(int(t), int(p)): int(n) for t, p, n in counts} == {
        (t, p): n for t, row in enumerate(expected.confusion.tolist()) for p, n in enumerate(row)
    }


@pytest.mark.parametrize(
    ("kind", "score"), [("labels", "Accuracy of the labels "), ("regression", "R² ")]
)
def test_the_summary_has_the_main_metric(tmp_path: Path, kind: str, score: str) -> None:
    """Its value is that of the tile."""
    model, test = labels_example() if kind == "labels" else regression_example()
    run = Run(title=kind, model=model, test=test, history=History(), dataset="rows.csv")
    text = write_report(run, tmp_path / "report.html").read_text(encoding="utf-8")
    (summary,) = re.findall("<h1>.*</h1><p>(.*)</p></header>", text)
    value = summary.removeprefix(score).partition(" on 120 test examples of rows.csv. ")[0]
    assert f"<dd>{value}</dd>" in text


def pixels_of(address: str) -> npt.NDArray[np.uint8]:
    """Return the pixels of an image from its data URL."""
    head, _, data = address.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_the_images_are_the_worst_mistakes_and_the_first_layer(tmp_path: Path) -> None:
    """The page shows 24 mistakes in descending order of the loss, then the weights of each unit."""
    run = example_run()
    page = Page(write_report(run, tmp_path / "report.html").read_text(encoding="utf-8"))
    assert isinstance(run.model, SoftmaxClassifier)
    mistakes = find_mistakes(run.model, run.test, count=24)
    assert len(page.addresses) == 24 + 16
    for address, mistake in zip(page.addresses, mistakes, strict=False):
        expected = np.round(run.test.inputs[mistake.index].numpy() / 16 * 255)
        np.testing.assert_array_equal(pixels_of(address), expected)
    weights = run.model.network.layers[0].linear.weight.detach().numpy().reshape(16, 8, 8)
    for address, expected in zip(page.addresses[24:], weights, strict=True):
        pixels = pixels_of(address)
        is_blue = pixels[..., 2] > pixels[..., 0]
        np.testing.assert_array_equal(is_blue, expected > 0)


def test_layer_charts_appear_if_the_run_has_measurements(tmp_path: Path) -> None:
    """With measurements there are three charts with one line per layer, else only the table."""
    run = example_run()
    inputs = run.model.standardize(run.test.inputs)
    now = activation_statistics(run.model.network, inputs)
    for measured, charts in (({}, 0), ({0: now, 1: now, 2: now}, 3)):
        changed = dataclasses.replace(run, layer_health=measured)
        text = write_report(changed, tmp_path / "report.html").read_text(encoding="utf-8")
        assert text.count('<polyline class="line layer"') == charts
        assert f"<td>{100 * now.layers[0].saturated:.1f} %</td>" in text
        assert f"<td>{now.layers[0].gradient_gain:.2f}</td>" in text


def test_the_page_has_no_scripts_and_no_external_resources(tmp_path: Path) -> None:
    """All addresses are data URLs, and titles, class names and options cannot add markup."""
    evil = "</title><script>alert(1)</script>"
    run = example_run(evil, classes=("<b>0</b>", *"123456789"))
    text = write_report(run, tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert not re.findall(r"https?://", text)
    assert "<b>0</b>" not in text
    assert "<digits>" not in text
    assert "default-src 'none'" in text


@pytest.mark.parametrize(
    ("kind", "titles"),
    [
        (
            "labels",
            [
                "Labels",
                "ROC",
                "Precision and recall",
                "Calibration",
                "Present labels by confidence",
            ],
        ),
        ("regression", ["Largest errors", "Predictions"]),
    ],
)
def test_the_page_of_each_kind_of_model(tmp_path: Path, kind: str, titles: list[str]) -> None:
    """The sections of the kind are between those that all kinds share; nothing adds markup."""
    model, test = labels_example() if kind == "labels" else regression_example()
    run = Run(title=kind, model=model, test=test, history=falling_history(6, seconds=1.5))
    text = write_report(run, tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert [title for title in page.cells["h2"] if title.strip()] == [
        "Loss",
        "Validation error",
        *titles,
        "Hidden layers",
        "Network",
        "Versions at the time of writing",
    ]
    names = [name for name in page.cells["dt"] if name.strip()]
    assert names[-3:] == ["parameters", "epochs", "training time"]
    assert (">loss [nats]</text>" in text) == (kind == "labels")
    assert "nan" not in text
    assert "<label" not in text


def test_sections_without_content_are_omitted(tmp_path: Path) -> None:
    """A run without history, options and images has the remaining sections."""
    test = LabeledTensors(torch.rand(30, 4), torch.arange(30) % 2, classes=("no", "yes"))
    model = SoftmaxClassifier.for_data(test, ())
    run = Run(title="flat", model=model, test=test, history=History())
    page = Page(write_report(run, tmp_path / "report.html").read_text(encoding="utf-8"))
    titles = [title for title in page.cells["h2"] if title.strip()]
    assert titles == [
        "Classes", "Confusion matrix", "Calibration", "Accuracy by confidence", "Network",
        "Versions at the time of writing",
    ]  # fmt: skip


def test_an_invalid_run_raises_and_keeps_an_old_page(tmp_path: Path) -> None:
    """The existing file is unchanged, and no other file is left."""
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(TypeError, match="run must be a Run or the folder of a run, got 3"):
        write_report(3, path)  # type: ignore[arg-type]  # the mistake under test
    soft = LabeledTensors(torch.rand(4, 8, 8), torch.full((4, 10), 0.1))
    run = Run(title="soft", model=example_run().model, test=soft, history=History())
    with pytest.raises(TypeError, match=r"targets of run\.test must be class indices, got torch"):
        write_report(run, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
