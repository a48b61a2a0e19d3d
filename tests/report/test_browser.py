"""The report in a browser: no overflow, no external requests, light and dark mode."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from tests.demo.chromium import Chromium, find_chromium
from tests.report.histories import falling_history
from tests.report.kinds import labels_example, regression_example

from mlpkit import MultilabelClassifier, Regressor, SoftmaxClassifier
from mlpkit.data import LabeledTensors, digits
from mlpkit.nn import activation_statistics
from mlpkit.report import Run, write_report
from mlpkit.training import History

pytestmark = pytest.mark.browser

# Elements whose content overflows, by tag and text; boxes that scroll are not included.
OVERFLOWING = """
[...document.querySelectorAll("h1, h2, h3, dd, dt, th, td, figcaption, .legend, svg, img")]
  .filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0
      && getComputedStyle(e).display !== "inline")
  .map(e => e.tagName + " " + e.textContent.slice(0, 40))
"""
WORDS_OUTSIDE = """
[...document.querySelectorAll("svg text")].filter(e => {
  const word = e.getBoundingClientRect(), chart = e.closest("svg").getBoundingClientRect();
  return word.left < chart.left - 1 || word.right > chart.right + 1
      || word.top < chart.top - 1 || word.bottom > chart.bottom + 1;
}).map(e => e.textContent)
"""
# Text of charts that is larger than a heading; rotated text is as wide as it is long.
TALL_WORDS = """
[...document.querySelectorAll("svg text:not([transform])")]
  .filter(e => e.getBoundingClientRect().height > 25).map(e => e.textContent)
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """One headless browser for all tests of this file."""
    executable = find_chromium()
    if executable is None:
        pytest.skip("Chromium is not installed")
    with Chromium(executable, tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module", params=["classes", "labels", "targets", "one target"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run of each kind of model, with a long title and large numbers."""
    runs: dict[str, Callable[[], Run]] = {
        "classes": classes_run,
        "labels": lambda: kind_run(*labels_example(11)),
        "targets": lambda: kind_run(*regression_example(3)),
        "one target": lambda: kind_run(*regression_example(predicts_std=True)),
    }
    run = runs[request.param]()
    return write_report(run, tmp_path_factory.mktemp("page") / "report.html")


def kind_run(model: MultilabelClassifier | Regressor, test: LabeledTensors) -> Run:
    """Return a run whose training loss is explained."""
    rows = [
        dataclasses.replace(row, val_objective_loss=2 * (row.val_loss or 0.0))
        for row in falling_history(40, seconds=4321.5)
    ]
    return Run(title="a-long-name-" * 4, model=model, test=test, history=History(rows))


def classes_run() -> Run:
    """Return a run of images with activation statistics and options."""
    splits = digits()
    generator = torch.Generator().manual_seed(0)
    model = SoftmaxClassifier.for_data(splits.train, (64, 40, 30), generator=generator)

    now = activation_statistics(model.network, model.standardize(splits.test.inputs))
    return Run(
        title="a-run-with-a-long-name-" * 4,
        model=model,
        test=splits.test,
        history=falling_history(40, seconds=4321.5),
        config='dataset = "digits"\n' * 30,
        layer_health=dict.fromkeys(range(41), now),
    )


@pytest.mark.parametrize("width", [1400, 1280, 820, 390, 320])
def test_nothing_overflows(browser: Chromium, page: Path, width: int) -> None:
    """All text stays in its box, its chart and the window, at every width."""
    browser.open(page, width=width, height=800)
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth") is True
    assert browser.evaluate(OVERFLOWING) == []
    assert browser.evaluate(WORDS_OUTSIDE) == []
    assert browser.evaluate(TALL_WORDS) == []
    loaded = "[...document.images].every(i => i.complete && i.naturalWidth > 0)"
    assert browser.evaluate(loaded) is True


def test_the_curves_of_one_epoch_are_dots_in_their_colors(
    browser: Chromium, tmp_path: Path
) -> None:
    """A dot is filled with the color of its line, which the legend names."""
    (row,) = falling_history(1, seconds=1.0)
    history = History([dataclasses.replace(row, val_objective_loss=0.5)])
    run = dataclasses.replace(classes_run(), history=history)
    browser.open(write_report(run, tmp_path / "report.html"))
    dots = "[...document.querySelectorAll('circle.dot')].map(e => getComputedStyle(e))"
    assert browser.evaluate("document.querySelectorAll('circle.third').length") == 1
    assert browser.evaluate(f"{dots}.filter(s => s.fill !== s.stroke).length") == 0


def test_light_and_dark_mode_have_different_backgrounds(browser: Chromium, page: Path) -> None:
    """The background follows the preferred color scheme; the page requests no other resource."""
    browser.requests.clear()  # those of other pages
    backgrounds = []
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.call("Emulation.setEmulatedMedia", features=[feature])
        browser.open(page)
        backgrounds.append(browser.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert backgrounds == ["rgb(238, 241, 246)", "rgb(11, 16, 26)"]
    assert browser.console == []
    expected = {page.as_uri()}
    assert {url for url in browser.requests if not str(url).startswith("data:")} == expected
