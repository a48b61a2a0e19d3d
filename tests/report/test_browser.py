"""The page in a real browser: nothing overflows, nothing is asked for, both color schemes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tests.demo.chromium import Chromium, find_chromium

from mlpkit import SoftmaxClassifier
from mlpkit.data import digits
from mlpkit.nn import activation_statistics
from mlpkit.report import Run, write_report
from mlpkit.training import EpochRow, History

pytestmark = pytest.mark.browser

# What sticks out of its box, by tag and text; boxes that scroll may hold more than they show.
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


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """One headless browser for all tests of this file."""
    executable = find_chromium()
    if executable is None:
        pytest.skip("Chromium is not installed")
    with Chromium(executable, tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a network with large figures and a long name."""
    splits = digits()
    generator = torch.Generator().manual_seed(0)
    model = SoftmaxClassifier.for_data(splits.train, (64, 40, 30), generator=generator)
    history = History(
        EpochRow(
            epoch=e, step=e, lr=0.1, train_loss=2.0**-e, seconds=4321.5, examples_per_second=1.0,
            val_loss=1.5**-e, val_accuracy=0.9, val_error=0.1 / (e + 1),
        )
        for e in range(40)
    )  # fmt: skip
    now = activation_statistics(model.network, model.standardize(splits.test.inputs))
    run = Run(
        title="a-run-with-a-long-name-" * 4,
        model=model,
        test=splits.test,
        history=history,
        config='dataset = "digits"\n' * 30,
        layer_health=dict.fromkeys(range(41), now),
    )
    return write_report(run, tmp_path_factory.mktemp("page") / "report.html")


@pytest.mark.parametrize("width", [1400, 1280, 820, 390, 320])
def test_nothing_sticks_out(browser: Chromium, page: Path, width: int) -> None:
    """No word leaves its box, its chart or the window, wide and narrow."""
    browser.open(page, width=width, height=800)
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth") is True
    assert browser.evaluate(OVERFLOWING) == []
    assert browser.evaluate(WORDS_OUTSIDE) == []
    loaded = "[...document.images].every(i => i.complete && i.naturalWidth > 0)"
    assert browser.evaluate(loaded) is True


def test_light_and_dark_have_their_own_paper(browser: Chromium, page: Path) -> None:
    """The reader's choice decides, and nothing is asked for from elsewhere."""
    papers = []
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.call("Emulation.setEmulatedMedia", features=[feature])
        browser.open(page)
        papers.append(browser.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert papers == ["rgb(238, 241, 246)", "rgb(11, 16, 26)"]
    assert browser.complaints == []
    own = page.as_uri()
    assert {url for url in browser.requests if not str(url).startswith("data:")} == {own}
