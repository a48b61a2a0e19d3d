"""The page says what the classifier does, needs nothing else, and is replaced whole."""

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

from mlpkit import SoftmaxClassifier
from mlpkit.data import LabeledTensors, digits
from mlpkit.nn import activation_statistics
from mlpkit.plots import find_mistakes
from mlpkit.report import Run, write_report
from mlpkit.training import ClassificationAccumulator, EpochRow, History


def made_run(title: str = "a run", *, classes: tuple[str, ...] | None = None) -> Run:
    """Return an untrained classifier of the digits with an invented history."""
    splits = digits()
    train = LabeledTensors(
        splits.train.inputs, splits.train.targets, classes or splits.train.classes
    )
    generator = torch.Generator().manual_seed(0)
    history = History(
        EpochRow(
            epoch=e, step=e, lr=0.1, train_loss=2.0**-e, seconds=1.5, examples_per_second=1.0,
            val_loss=1.5**-e, val_accuracy=0.9, val_error=0.1 / (e + 1),
        )
        for e in range(6)
    )  # fmt: skip
    return Run(
        title=title,
        model=SoftmaxClassifier.for_data(train, (16,), generator=generator),
        test=splits.test,
        history=history,
        config='dataset = "<digits>"\n',
    )


class Page(HTMLParser):
    """The texts of a page by the tag they stand in, and every address that it names."""

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


def test_the_figures_are_those_of_the_classifier(tmp_path: Path) -> None:
    """Accuracy, loss, calibration error and the counts, measured by another hand."""
    run = made_run()
    path = write_report(run, tmp_path / "report.html")
    text = path.read_text(encoding="utf-8")
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
    counts = re.findall(r'title="(\d) taken for (\d): (\d+)">', text)
    assert {(int(t), int(p)): int(n) for t, p, n in counts} == {
        (t, p): n for t, row in enumerate(expected.confusion.tolist()) for p, n in enumerate(row)
    }


def pixels_of(address: str) -> npt.NDArray[np.uint8]:
    """Return the pixels of a picture that is its own address."""
    head, _, data = address.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_the_pictures_are_the_worst_mistakes_and_the_first_layer(tmp_path: Path) -> None:
    """24 mistakes, pixel by pixel, in the order of the loss; then the weights of each unit."""
    run = made_run()
    page = Page(write_report(run, tmp_path / "report.html").read_text(encoding="utf-8"))
    mistakes = find_mistakes(run.model, run.test, 24)
    assert len(page.addresses) == 24 + 16
    for address, mistake in zip(page.addresses, mistakes, strict=False):
        expected = np.round(run.test.inputs[mistake.index].numpy() / 16 * 255)
        np.testing.assert_array_equal(pixels_of(address), expected)
    weights = run.model.network.layers[0].linear.weight.detach().numpy().reshape(16, 8, 8)
    for address, expected in zip(page.addresses[24:], weights, strict=True):
        pixels = pixels_of(address)
        wants_ink = pixels[..., 2] > pixels[..., 0]  # more blue than red
        np.testing.assert_array_equal(wants_ink, expected > 0)


def test_the_layers_are_drawn_over_the_epochs_where_somebody_measured(tmp_path: Path) -> None:
    """Three charts of a line for each layer; without a record, the table alone."""
    run = made_run()
    inputs = run.model.standardize(run.test.inputs)
    now = activation_statistics(run.model.network, inputs)
    for record, charts in (({}, 0), ({0: now, 1: now, 2: now}, 3)):
        changed = dataclasses.replace(run, layer_health=record)
        text = write_report(changed, tmp_path / "report.html").read_text(encoding="utf-8")
        assert text.count('<polyline class="line layer"') == charts
        assert f"<td>{100 * now.layers[0].saturated:.1f} %</td>" in text
        assert f"<td>{now.layers[0].gradient_gain:.2f}</td>" in text


def test_the_page_needs_nothing_and_runs_nothing(tmp_path: Path) -> None:
    """No address but data, no script, and words from outside stay words."""
    evil = "</title><script>alert(1)</script>"
    run = made_run(evil, classes=("<b>0</b>", *"123456789"))
    text = write_report(run, tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert not re.findall(r"https?://", text)
    assert "<b>0</b>" not in text
    assert "<digits>" not in text
    assert "default-src 'none'" in text


def test_without_history_options_or_pictures_there_is_still_a_page(tmp_path: Path) -> None:
    """What there is nothing of is left out."""
    test = LabeledTensors(torch.rand(30, 4), torch.arange(30) % 2, classes=("no", "yes"))
    model = SoftmaxClassifier.for_data(test, ())
    run = Run(title="flat", model=model, test=test, history=History())
    page = Page(write_report(run, tmp_path / "report.html").read_text(encoding="utf-8"))
    titles = [title for title in page.cells["h2"] if title.strip()]
    assert titles == [
        "Classes", "Confusion", "Calibration", "Confidence", "Network",
        "Versions, when this was written",
    ]  # fmt: skip


def test_what_is_no_run_is_refused_and_an_old_page_stays(tmp_path: Path) -> None:
    """One sentence, and the file as it was."""
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(TypeError, match="run must be a Run or the folder of one, got 3"):
        write_report(3, path)  # type: ignore[arg-type]  # the mistake under test
    soft = LabeledTensors(torch.rand(4, 8, 8), torch.full((4, 10), 0.1))
    run = Run(title="soft", model=made_run().model, test=soft, history=History())
    with pytest.raises(TypeError, match=r"targets of run\.test must be class indices, got torch"):
        write_report(run, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
