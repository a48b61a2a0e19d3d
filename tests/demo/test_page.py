"""The demo page as a file: its content, its security and its error messages."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

from mlpkit.data import LabeledTensors
from mlpkit.demo import write_demo
from mlpkit.models import SoftmaxClassifier, unpooled
from mlpkit.nn import MLP

DIGITS = tuple("0123456789")
HOSTILE = "</script><script>alert(1)</script><!-- \u2028 & \" ' $title ${x}"


def model(
    side: int = 28,
    *,
    classes: tuple[str, ...] = DIGITS,
    mean: float | torch.Tensor = 33.3,
    std: float | torch.Tensor = 78.6,
    input_shape: tuple[int, ...] | None = None,
) -> SoftmaxClassifier:
    """Return a small classifier of square images."""
    network = MLP(side * side, (6,), len(classes), generator=torch.Generator().manual_seed(0))
    shape = (side, side) if input_shape is None else input_shape
    return SoftmaxClassifier(network, classes=classes, mean=mean, std=std, input_shape=shape)


class Elements(HTMLParser):
    """Collect the tags and texts of a page in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect a tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Collect a text by the id or the name of the last tag."""
        tag, attributes = self.tags[-1] if self.tags else ("", {})
        self.texts.setdefault(attributes.get("id") or tag, []).append(data)


def parsed(page: Path) -> Elements:
    """Return the elements of a page."""
    elements = Elements()
    elements.feed(page.read_text(encoding="utf-8"))
    return elements


def description(page: Path) -> dict[str, object]:
    """Return the description of the model in a page."""
    found: object = json.loads("".join(parsed(page).texts["description"]))
    assert isinstance(found, dict)
    return found


def picture(page: Path) -> dict[str, object]:
    """Return the description of the input images in a page."""
    found = description(page)["picture"]
    assert isinstance(found, dict)
    return found


def test_the_page_contains_the_model(tmp_path: Path) -> None:
    """The page has the classes, the number of parameters and all weights in order."""
    classifier = model()
    page = write_demo(classifier, tmp_path / "demo.html")
    about = description(page)
    assert about["classes"] == list(DIGITS)
    assert about["parameters"] == classifier.network.num_parameters
    numbers = np.frombuffer(base64.b64decode(parsed(page).texts["weights"][0]), dtype="<f4")
    hidden, head = classifier.network.layers[0].linear, classifier.network.head
    assert head is not None
    tensors = [classifier.mean, classifier.std, hidden.weight, hidden.bias, head.weight, head.bias]
    expected = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
    assert np.array_equal(numbers, expected.numpy())


def test_the_page_has_no_external_resources(tmp_path: Path) -> None:
    """No attribute or style has an address, and the security policy forbids all loading."""
    page = write_demo(model(), tmp_path / "demo.html")
    elements = parsed(page)
    links = [
        value
        for _, attributes in elements.tags
        for name, value in attributes.items()
        if name in ("src", "href", "action", "srcset")
    ]
    assert links == ["data:,"]
    assert "http" not in page.read_text(encoding="utf-8").replace("http-equiv", "")
    assert "url(" not in "".join(elements.texts["style"])
    policy = next(
        attributes["content"] or ""
        for tag, attributes in elements.tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    """Markup in a class name or title neither ends nor starts a script."""
    classes = (HOSTILE, "<img src=x onerror=alert(1)>")
    hostile = model(classes=classes)
    plain = write_demo(model(classes=("a", "b")), tmp_path / "plain.html", title="t")
    page = write_demo(hostile, tmp_path / "hostile.html", title=HOSTILE)
    assert [tag for tag, _ in parsed(page).tags] == [tag for tag, _ in parsed(plain).tags]
    assert description(page)["classes"] == list(classes)
    assert description(page)["title"] == HOSTILE
    assert "".join(parsed(page).texts["title"]).startswith(HOSTILE)
    assert "".join(parsed(page).texts["h1"]).startswith(HOSTILE)


def test_scripts_cannot_end_their_element() -> None:
    """No script of the package contains text that would close or comment out its element."""
    folder = Path(write_demo.__code__.co_filename).parent
    scripts = sorted(folder.glob("*.js"))
    assert len(scripts) == 5
    for script in scripts:
        assert not re.search(r"</script|<!--|<script", script.read_text(encoding="utf-8")), script


@pytest.mark.parametrize(
    ("classes", "title"),
    [(DIGITS, "Draw a digit"), (("cat", "dog"), "Draw a picture")],
)
def test_default_title(classes: tuple[str, ...], title: str, tmp_path: Path) -> None:
    """The title asks for a digit only if all classes are digits."""
    assert description(write_demo(model(classes=classes), tmp_path / "x.html"))["title"] == title


@pytest.mark.parametrize(
    ("mean", "std", "ink"),
    [
        (33.318, 78.567, 255),  # MNIST as uint8
        (0.13066, 0.30811, 1),  # MNIST in [0, 1]
        (4.884, 6.017, 16),  # the 8x8 digits
        (0.0, 255.0, 255),  # only divided
        (72.94, 90.02, 255),  # Fashion-MNIST as uint8
    ],
)
def test_ink_is_inferred_from_mean_and_std(
    mean: float, std: float, ink: int, tmp_path: Path
) -> None:
    """Mean and standard deviation bound the largest value, which distinguishes 1, 16 and 255."""
    assert picture(write_demo(model(mean=mean, std=std), tmp_path / "x.html"))["white"] == ink


def test_ink_is_inferred_from_examples(tmp_path: Path) -> None:
    """For a model that does not standardize, the largest value of the examples is a bound."""
    images = torch.zeros(3, 28, 28, dtype=torch.uint8)
    images[1, 5, 5] = 254
    examples = LabeledTensors(images, torch.tensor([0, 1, 2]), DIGITS)
    page = write_demo(model(mean=0.0, std=1.0), tmp_path / "x.html", examples=examples)
    assert picture(page)["white"] == 255


def test_ink_that_cannot_be_inferred_is_required(tmp_path: Path) -> None:
    """Without statistics and examples the value of full ink must be passed."""
    with pytest.raises(ValueError, match=r"ink must be the raw value of full ink, got None; "):
        write_demo(model(mean=0.0, std=1.0), tmp_path / "x.html")
    page = write_demo(model(mean=0.0, std=1.0), tmp_path / "x.html", ink=200)
    assert picture(page)["white"] == 200


@pytest.mark.parametrize(("side", "box", "by"), [(28, 20, "mass"), (8, 8, "box"), (14, 10, "mass")])
def test_drawings_are_centered_like_the_training_images(
    side: int, box: int, by: str, tmp_path: Path
) -> None:
    """The box is 20/28 of the side, as in MNIST; for 8x8 images it is the whole image."""
    found = picture(write_demo(model(side), tmp_path / "x.html"))
    assert (found["rows"], found["columns"], found["box"], found["by"]) == (side, side, box, by)


@pytest.mark.parametrize("input_shape", [(784,), (3, 16, 16), (1, 784), (784, 1)])
def test_inputs_that_are_not_gray_images_raise(
    input_shape: tuple[int, ...], tmp_path: Path
) -> None:
    """For a model of vectors or of color images no page is written."""
    features = int(np.prod(input_shape))
    network = MLP(features, (3,), 10)
    vectors = SoftmaxClassifier(network, classes=DIGITS, input_shape=input_shape)
    with pytest.raises(ValueError, match=r"model\.input_shape must be \(height, width\), got"):
        write_demo(vectors, tmp_path / "x.html", ink=1)
    assert list(tmp_path.iterdir()) == []


def test_one_channel_is_a_gray_image(tmp_path: Path) -> None:
    """(1, 28, 28), the shape of torchvision's images, is equivalent to (28, 28)."""
    page = write_demo(model(input_shape=(1, 28, 28)), tmp_path / "x.html")
    assert (picture(page)["rows"], picture(page)["columns"]) == (28, 28)


def test_examples_are_kept_exactly(tmp_path: Path) -> None:
    """Whole values up to 255 are stored as uint8, others as float32; both are exact."""
    generator = torch.Generator().manual_seed(0)
    whole = torch.randint(0, 256, (4, 28, 28), generator=generator, dtype=torch.uint8)
    targets = torch.tensor([3, 1, 4, 1])
    for inputs, encoding, kind in ((whole, "uint8", "u1"), (whole / 255.5, "float32", "<f4")):
        examples = LabeledTensors(inputs, targets, DIGITS)
        page = write_demo(model(), tmp_path / "x.html", examples=examples)
        found = description(page)["examples"]
        assert isinstance(found, dict)
        assert found["encoding"] == encoding
        assert found["targets"] == targets.tolist()
        values = np.frombuffer(base64.b64decode(str(found["inputs"])), dtype=kind)
        assert np.array_equal(values, inputs.numpy().reshape(-1))


def test_examples_with_soft_targets_have_the_most_probable_class(tmp_path: Path) -> None:
    """The label of a distribution over the classes is its largest class."""
    targets = torch.eye(10)[[7, 2]] * 0.8 + 0.02
    examples = LabeledTensors(torch.zeros(2, 28, 28, dtype=torch.uint8), targets, DIGITS)
    found = description(write_demo(model(), tmp_path / "x.html", examples=examples))["examples"]
    assert isinstance(found, dict)
    assert found["targets"] == [7, 2]


def test_the_credit_of_the_examples_is_on_the_page(tmp_path: Path) -> None:
    """It is text; without examples there is nothing to credit."""
    images = torch.zeros(2, 28, 28, dtype=torch.uint8)
    examples = LabeledTensors(images, torch.tensor([0, 1]), DIGITS)
    page = write_demo(model(), tmp_path / "x.html", examples=examples, credit=HOSTILE)
    assert description(page)["credit"] == HOSTILE
    with pytest.raises(ValueError, match="credit must be None without examples, got 'mine'"):
        write_demo(model(), page, credit="mine")
    with pytest.raises(TypeError, match="credit must be a string or None, got 5"):
        write_demo(model(), page, examples=examples, credit=5)  # type: ignore[arg-type] # a mistake


def test_a_pooled_network_is_described(tmp_path: Path) -> None:
    """The page has the number of parameters that were trained; other models have none."""
    small = model(14)
    page = write_demo(unpooled(small, 2), tmp_path / "x.html")
    expected = {"factor": 2, "parameters": small.network.num_parameters}
    assert description(page)["pooling"] == expected
    assert description(write_demo(small, page))["pooling"] is None


def test_a_mean_that_the_page_cannot_subtract_raises(tmp_path: Path) -> None:
    """forward.js subtracts the mean in float32 only, without its remainder."""
    far = model(mean=torch.tensor(2.0**30 + 0.3, dtype=torch.float64), std=1.0)
    assert far.mean_remainder is not None
    message = "model must be a classifier whose mean is exact in its dtype, got a mean_remainder"
    with pytest.raises(ValueError, match=message):
        write_demo(far, tmp_path / "x.html", ink=2**30)
    assert list(tmp_path.iterdir()) == []


def test_invalid_examples_raise(tmp_path: Path) -> None:
    """Another shape, too many or other classes, and regression targets raise."""
    page = tmp_path / "x.html"
    small = LabeledTensors(torch.zeros(2, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"examples must be images of shape \(28, 28\), got"):
        write_demo(model(), page, examples=small)
    images = torch.zeros(2, 28, 28, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"targets of examples must be less than 10, .*got 12"):
        write_demo(model(), page, examples=LabeledTensors(images, torch.tensor([0, 12])))
    with pytest.raises(ValueError, match=r"targets of examples must be class indices .*got \(2,\)"):
        write_demo(model(), page, examples=LabeledTensors(images, torch.tensor([0.5, 1.5])))
    other = LabeledTensors(images, torch.tensor([0, 1]), classes=tuple("9876543210"))
    with pytest.raises(ValueError, match=r"examples\.classes must be those of model in the same"):
        write_demo(model(), page, examples=other)
    assert not page.exists()


def test_a_page_is_replaced_atomically(tmp_path: Path) -> None:
    """After an error the older page is unchanged, and there is no other file."""
    page = write_demo(model(), tmp_path / "demo.html")
    before = page.read_bytes()
    broken = model()
    with torch.no_grad():
        broken.network.layers[0].linear.weight[0, 0] = torch.inf
    with pytest.raises(ValueError, match=r"network\.layers\.0\.linear\.weight must be finite"):
        write_demo(broken, page)
    assert page.read_bytes() == before
    assert list(tmp_path.iterdir()) == [page]


def test_invalid_arguments_raise(tmp_path: Path) -> None:
    """A bare network, a list as examples, a number as title and an ink of 0 raise."""
    page = tmp_path / "x.html"
    network: object = MLP(4, (), 2)
    numbers: object = [1, 2]
    number: object = 5
    with pytest.raises(TypeError, match=r"model must be a SoftmaxClassifier, got"):
        write_demo(network, page)  # type: ignore[arg-type] # what an untyped caller may pass
    with pytest.raises(TypeError, match=r"examples must be LabeledTensors or None, got \[1, 2\]"):
        write_demo(model(), page, examples=numbers)  # type: ignore[arg-type] # as above
    with pytest.raises(TypeError, match=r"title must be a string or None, got 5"):
        write_demo(model(), page, title=number)  # type: ignore[arg-type] # as above
    with pytest.raises(ValueError, match=r"ink must be a finite number greater than 0, got 0"):
        write_demo(model(), page, ink=0)
