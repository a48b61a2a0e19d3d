"""The demo page in a browser: drawing, display, pointer and keyboard."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tests.demo.chromium import Chromium, Point, find_chromium

from mlpkit.data import LabeledTensors, mnist
from mlpkit.demo import write_demo
from mlpkit.models import SoftmaxClassifier, unpooled
from mlpkit.nn import MLP

pytestmark = pytest.mark.browser

DIGITS = tuple("0123456789")
LIES, STANDS = "a lying <b>line</b>", "a standing line"
CREDIT = "Two lines, in the <b>public domain</b>."
STANDING = [(0.5, 0.2), (0.5, 0.8)]
LYING = [(0.2, 0.5), (0.8, 0.5)]
STROKES: dict[str, list[list[Point]]] = {
    "0": [[(.5, .2), (.36, .3), (.32, .5), (.36, .7), (.5, .8), (.64, .7), (.68, .5), (.64, .3),
           (.5, .2)]],
    "1": [STANDING],
    "2": [[(.34, .34), (.42, .22), (.58, .22), (.66, .36), (.58, .52), (.34, .78), (.68, .78)]],
    "3": [[(.34, .26), (.5, .2), (.64, .3), (.6, .44), (.46, .5), (.62, .56), (.66, .68),
           (.52, .8), (.34, .74)]],
    "4": [[(.4, .2), (.34, .52), (.68, .52)], [(.62, .22), (.6, .82)]],
    "7": [[(.32, .24), (.68, .24), (.56, .5), (.46, .8)]],
}  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """One headless browser for all tests of this file."""
    executable = find_chromium()
    if executable is None:
        pytest.skip("Chromium is not installed")
    if sys.platform == "win32":
        pytest.skip("the browser is controlled through Unix pipes")
    with Chromium(executable, tmp_path_factory.mktemp("profile")) as started:
        yield started


def lines(side: int = 28) -> SoftmaxClassifier:
    """Return a hand-made classifier of lying and standing lines.

    The hidden units are the left, right, top and bottom middle of the image.
    """
    network = MLP(side * side, (4,), 2)
    masks = torch.zeros(4, side, side)
    middle, edge = slice(side * 3 // 8, side * 5 // 8), side // 4
    masks[0, middle, :edge] = masks[1, middle, -edge:] = 1.0
    masks[2, :edge, middle] = masks[3, -edge:, middle] = 1.0
    with torch.no_grad():
        network.layers[0].linear.weight.copy_(masks.flatten(1) / edge)
        network.layers[0].linear.bias.zero_()
        assert network.head is not None
        network.head.weight.copy_(torch.tensor([[1.0, 1, -1, -1], [-1, -1, 1, 1]]) * 4)
        network.head.bias.zero_()
    return SoftmaxClassifier(
        network, classes=(LIES, STANDS), std=255.0, input_shape=(side, side)
    ).eval()


def line_examples() -> LabeledTensors:
    """Return two standing lines, the second of which is labeled as lying."""
    images = torch.zeros(2, 28, 28, dtype=torch.uint8)
    images[:, 4:24, 13:15] = 255
    return LabeledTensors(images, torch.tensor([1, 0]), (LIES, STANDS))


def winner(browser: Chromium) -> object:
    """Return the class that the page predicts; None if there is no drawing."""
    return browser.evaluate("document.querySelector('#winner').dataset.class ?? null")


def probabilities(browser: Chromium) -> list[float]:
    """Return the probabilities of the bars."""
    found = browser.evaluate(
        "[...document.querySelectorAll('#bars li')].map(li => Number(li.dataset.probability))"
    )
    assert isinstance(found, list)
    return found


def text(browser: Chromium, selector: str) -> str:
    """Return the text of an element."""
    return str(browser.evaluate(f"document.querySelector('{selector}').textContent"))


def shown_input(browser: Chromium) -> torch.Tensor:
    """Return the image that the page shows as the input of the network, 0 to 1."""
    found = browser.evaluate(
        "(() => { const c = document.querySelector('#input');"
        "const copy = new OffscreenCanvas(c.width, c.height).getContext('2d');"
        "copy.drawImage(c, 0, 0); const d = copy.getImageData(0, 0, c.width, c.height).data;"
        "return [c.height, c.width, ...d.filter((_, i) => i % 4 === 3)]; })()"
    )
    assert isinstance(found, list)
    return torch.tensor(found[2:]).reshape(found[0], found[1]) / 255


def shown(browser: Chromium, selector: str) -> object:
    """Return whether an element has a box."""
    return browser.evaluate(f"document.querySelector('{selector}').getClientRects().length > 0")


@pytest.fixture
def page(browser: Chromium, tmp_path: Path) -> Iterator[Chromium]:
    """A new page of the classifier of lines; there must be no console messages or requests."""
    browser.console.clear()
    browser.requests.clear()
    file = write_demo(lines(), tmp_path / "demo.html", examples=line_examples(), credit=CREDIT)
    browser.open(file)
    yield browser
    assert browser.console == []
    assert [address for address in browser.requests if address != "data:,"] == [file.as_uri()]


def test_an_empty_board_has_no_prediction(page: Chromium) -> None:
    """Before the first stroke no class is predicted, and all bars are empty."""
    assert winner(page) is None
    assert probabilities(page) == [0, 0]
    assert not shown_input(page).any()


def test_mouse_and_finger_draw(page: Chromium) -> None:
    """Strokes by mouse and by touch are centered and classified."""
    page.draw([(0.1, 0.3), (0.4, 0.3)])
    assert winner(page) == LIES
    assert text(page, "#winner-class") == LIES  # as text, not as markup
    assert text(page, ".bar-name") == LIES
    assert sum(probabilities(page)) == pytest.approx(1)
    inked = shown_input(page).nonzero()
    assert (inked.amax(0) - inked.amin(0) + 1).max() == 20
    page.click("#clear")
    assert winner(page) is None
    page.touch(STANDING)
    assert winner(page) == STANDS


def test_probabilities_are_those_of_python(page: Chromium) -> None:
    """Python gives the probabilities of the bars for the input that the page shows."""
    page.draw([(0.2, 0.5), (0.5, 0.45), (0.5, 0.9)])
    shown = (shown_input(page) * 255).round().to(torch.uint8)
    expected = lines().predict_proba(shown[None])[0]
    torch.testing.assert_close(torch.tensor(probabilities(page)), expected, rtol=0, atol=1e-5)


def test_the_keyboard_draws(page: Chromium) -> None:
    """Space puts the pen down, and arrows move it; the prediction is announced."""
    page.press("Tab")
    page.press("Tab")
    assert page.evaluate("document.activeElement.id") == "board"
    page.press("ArrowUp", times=10)
    page.press(" ")
    page.press("ArrowDown", times=20)
    page.press(" ")
    assert winner(page) == STANDS
    page.press("ArrowLeft", times=15)  # lifted: leaves no ink
    assert winner(page) == STANDS
    page.evaluate("new Promise(f => setTimeout(f, 800))")
    assert text(page, "#announcement").startswith(f"{STANDS}, ")


def test_single_keys(page: Chromium) -> None:
    """C clears, U undoes, E shows examples, I inverts; no key works when they are disabled."""
    page.draw(LYING)
    page.draw([(0.5, 0.05), (0.5, 0.95)])
    before = probabilities(page)
    page.press("u")
    assert winner(page) == LIES
    assert probabilities(page) != before
    page.press("i")
    assert shown_input(page)[0, 0] == 1
    page.press("i")
    page.press("c")
    assert winner(page) is None
    page.press("e")
    assert winner(page) == STANDS
    assert "correct" in text(page, "#runner-up")
    page.press("e")
    assert f"wrong, labeled {LIES}" in text(page, "#runner-up")
    page.click("summary")
    page.click("#single-keys")
    page.press("c")
    assert winner(page) == STANDS


def test_an_example_is_not_preprocessed_and_can_be_drawn_on(page: Chromium) -> None:
    """The input has the pixels of the example; a stroke is added at its position."""
    page.click(".choice")
    assert torch.equal(shown_input(page), line_examples().inputs[0] / 255)
    page.draw([(0.02, 0.5), (0.98, 0.5)])
    assert (shown_input(page)[14, [2, 25]] > 0.9).all()
    assert shown_input(page)[5, 13] == 1


def test_examples_are_buttons(page: Chromium) -> None:
    """A click or a key on one shows it with its label; clearing the board releases it."""
    pressed = "[...document.querySelectorAll('.choice')].map(b => b.getAttribute('aria-pressed'))"
    label = "[...document.querySelectorAll('.choice')].map(b => b.getAttribute('aria-label'))"
    assert page.evaluate(label) == [f"Example 1, labeled {STANDS}", f"Example 2, labeled {LIES}"]
    assert page.evaluate(pressed) == ["false", "false"]
    page.click(".choice:nth-child(2)")
    assert page.evaluate(pressed) == ["false", "true"]
    assert winner(page) == STANDS
    assert f"wrong, labeled {LIES}" in text(page, "#runner-up")
    page.click("#clear")
    assert page.evaluate(pressed) == ["false", "false"]
    page.evaluate("document.querySelector('.choice').focus()")
    page.press("Enter")
    assert page.evaluate(pressed) == ["true", "false"]
    assert winner(page) == STANDS
    page.press("e")
    assert page.evaluate(pressed) == ["false", "true"]
    assert text(page, "#credit") == CREDIT
    assert shown(page, "#example") is False  # both examples have a button


def test_the_parameters_of_a_pooled_network_are_explained(
    browser: Chromium, tmp_path: Path
) -> None:
    """The header has the parameters of the model, and those that were trained."""
    browser.open(write_demo(unpooled(lines(14), 2), tmp_path / "pooled.html"))
    small, full = 14 * 14 * 4 + 4 + 10, 28 * 28 * 4 + 4 + 10
    words = f"{full:,} parameters, trained as {small:,} on means of 2 \N{MULTIPLICATION SIGN} 2"
    assert words in text(browser, "#network")


def test_more_examples_than_buttons(browser: Chromium, tmp_path: Path) -> None:
    """20 examples have buttons; the others are shown by the button for the next example."""
    images = torch.zeros(21, 28, 28, dtype=torch.uint8)
    images[:, 4:24, 13:15] = 255
    examples = LabeledTensors(images, torch.ones(21, dtype=torch.int64), (LIES, STANDS))
    browser.open(write_demo(lines(), tmp_path / "many.html", examples=examples))
    assert browser.evaluate("document.querySelectorAll('.choice').length") == 20
    assert shown(browser, "#example") is True
    browser.click(".choice:last-child")
    browser.click("#example")
    assert text(browser, "#example-note") == "example 21 of 21"
    assert shown(browser, "#credit") is False


def test_keyboard_hints_are_hidden_on_touch_screens(page: Chromium) -> None:
    """A touch screen has no keys and no pointer that points; all else remains."""
    hints = ("kbd", ".keys", ".without-touch")
    assert [shown(page, hint) for hint in hints] == [True, True, True]
    assert shown(page, ".with-touch") is False
    page.call("Emulation.setTouchEmulationEnabled", enabled=True)
    size = {"width": 390, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    page.call("Emulation.setDeviceMetricsOverride", **size)
    try:
        assert page.evaluate("matchMedia('(pointer: coarse)').matches") is True
        every = "[...document.querySelectorAll('kbd')].every(e => e.offsetParent === null)"
        assert page.evaluate(every) is True
        assert [shown(page, hint) for hint in hints] == [False, False, False]
        assert shown(page, ".with-touch") is True
        assert shown(page, "#clear") is True
    finally:
        page.call("Emulation.setTouchEmulationEnabled", enabled=False)
        page.call("Emulation.clearDeviceMetricsOverride")


def test_without_centering_a_drawing_keeps_its_position(page: Chromium) -> None:
    """A drawing in the corner of the board is in the corner of the input."""
    page.click("#center")
    page.draw([(0.1, 0.1), (0.2, 0.1)])
    inked = shown_input(page).nonzero()
    assert inked.amax(0).tolist()[0] < 7
    assert inked.amax(0).tolist()[1] < 9


def test_a_unit_shows_its_weights(page: Chromium) -> None:
    """Pointing at a hidden unit or a class shows its name and weights; a click pins it."""
    page.draw(STANDING)
    assert text(page, "#inspector-name") == f"Class \u201c{STANDS}\u201d"
    page.click(".cells canvas", 0.1, 0.5)
    assert text(page, "#inspector-name") == "Hidden layer, unit 1"
    page.mouse("mouseMoved", page.place("h1"))
    assert text(page, "#inspector-name") == "Hidden layer, unit 1"
    page.press("ArrowRight")
    assert text(page, "#inspector-name") == "Hidden layer, unit 2"
    size = page.evaluate(
        "[...document.querySelectorAll('#inspector-maps canvas')].map(c => [c.width, c.height])"
    )
    assert size == [[28, 28], [28, 28]]
    page.press("Escape")
    assert text(page, "#inspector-name") == f"Class \u201c{STANDS}\u201d"


@pytest.mark.parametrize(("width", "height"), [(360, 740), (768, 1024), (1280, 720), (2560, 1440)])
def test_nothing_is_cut_off(page: Chromium, width: int, height: int) -> None:
    """The page does not scroll horizontally at any width, and text stays in its box."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    page.call("Emulation.setDeviceMetricsOverride", **size)
    page.wait_for_frame()
    page.draw(STANDING)
    root = "document.documentElement"
    assert page.evaluate(f"{root}.scrollWidth - {root}.clientWidth") == 0
    wide = page.evaluate(
        "[...document.querySelectorAll('.panel')].filter(e => e.scrollWidth > e.clientWidth).length"
    )
    assert wide == 0


def test_small_images_in_other_units(browser: Chromium, tmp_path: Path) -> None:
    """A model of 8x8 images of 0 to 16 gets whole numbers up to 16 that fill the image."""
    small = lines(8)
    small.std.fill_(16.0)
    browser.console.clear()
    browser.open(write_demo(small, tmp_path / "small.html"))
    browser.draw(STANDING)
    assert winner(browser) == STANDS
    shown = shown_input(browser) * 16
    assert shown.shape == (8, 8)
    assert (shown > 0).any(dim=1).all()
    assert float((shown - shown.round()).abs().max()) < 0.05
    assert browser.evaluate("getComputedStyle(document.querySelector('#example')).display") == (
        "none"
    )
    assert browser.console == []


@pytest.mark.mnist
def test_drawn_digits_are_recognized(browser: Chromium, mnist_root: Path, tmp_path: Path) -> None:
    """A network trained on MNIST recognizes strokes of a 0, 1, 2, 3, 4 and 7."""
    page = write_demo(trained_on_mnist(mnist_root), tmp_path / "mnist.html")
    browser.open(page)
    answers = {}
    for digit, strokes in STROKES.items():
        browser.click("#clear")
        for stroke in strokes:
            browser.draw(stroke)
        answers[digit] = winner(browser)
    assert answers == {digit: digit for digit in STROKES}


def trained_on_mnist(root: Path) -> SoftmaxClassifier:
    """Return a classifier trained for one epoch on half of MNIST."""
    train = mnist(root=root).train
    model = SoftmaxClassifier.for_data(train, (128,), generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for start in range(0, 30_000, 100):
        rows = slice(start, start + 100)
        loss = F.cross_entropy(model(train.inputs[rows]), train.targets[rows])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return model.eval()
