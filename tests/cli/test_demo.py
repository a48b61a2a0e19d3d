"""`mlpkit demo`."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from mlpkit.data import digits
from mlpkit.demo import write_demo
from mlpkit.models import SoftmaxClassifier


def test_the_page_is_that_of_write_demo(
    tmp_path: Path,
    digits_run: Path,
    run_here: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The file at the printed path is byte for byte that of write_demo."""
    assert run_here("demo", str(digits_run), "--title", "Ours") == 0
    assert capsys.readouterr() == ("demo.html\n", "")
    model = SoftmaxClassifier.load(digits_run / "model")
    expected = write_demo(model, tmp_path / "expected.html", title="Ours").read_bytes()
    assert (tmp_path / "demo.html").read_bytes() == expected


def examples_of(page: Path) -> tuple[list[int], str | None]:
    """Return the classes of the examples of a page, none without examples, and their source."""
    (text,) = re.findall(
        '<script type="application/json" id="description">(.*?)</script>',
        page.read_text(encoding="utf-8"),
    )
    found = json.loads(text)
    return ([] if found["examples"] is None else found["examples"]["targets"]), found["credit"]


@pytest.mark.parametrize("part", ["", "model"])
def test_the_page_of_a_run_has_an_example_of_each_class(
    part: str, trained: Path, tmp_path: Path, run_here: Callable[..., int]
) -> None:
    """They are the first test examples of each class, and the page names their license."""
    page = tmp_path / "demo.html"
    assert run_here("demo", str(trained / part)) == 0
    targets, credit = examples_of(page)
    assert targets == list(range(10))
    assert credit is not None
    assert "handwritten digits (CC BY 4.0). E. Alpaydin and C. Kaynak, " in credit
    test = digits().test
    first = [int((test.targets == index).nonzero()[0]) for index in range(10)]
    model = SoftmaxClassifier.load(trained / "model")
    expected = write_demo(
        model,
        tmp_path / "expected.html",
        examples=test[first],
        credit=credit,
    )
    assert page.read_bytes() == expected.read_bytes()
    assert run_here("demo", str(trained / part), "--no-examples") == 0
    assert examples_of(page) == ([], None)


def test_without_the_files_of_the_data_set(
    trained: Path,
    tmp_path: Path,
    run_here: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The page has no examples, and one line says why; with --root that is an error."""
    for name in ("MLPKIT_DATA", "HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (run / "config.toml").write_text('dataset = "mnist"\n')
    assert run_here("demo", str(run)) == 0
    out, error = capsys.readouterr()
    assert out == "demo.html\n"
    assert error.startswith("mlpkit: the page has no examples: ")
    assert len(error.splitlines()) == 1
    assert examples_of(tmp_path / "demo.html") == ([], None)
    (tmp_path / "demo.html").unlink()
    assert run_here("demo", str(run), "--root", str(tmp_path)) == 1
    assert not (tmp_path / "demo.html").exists()


def test_the_examples_of_a_folder_of_images(tmp_path: Path, run_here: Callable[..., int]) -> None:
    """A model of two classes has several examples of each; a moved folder is found with --root."""
    generator = torch.Generator().manual_seed(0)
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for index in range(60):
            pixels = torch.randint(0, 256, (8, 8), generator=generator, dtype=torch.uint8)
            pixels[:4] = 0 if name == "cat" else 255
            Image.fromarray(pixels.numpy()).save(tmp_path / "pets" / name / f"{index}.png")
    assert run_here("train", str(tmp_path / "pets"), "--epochs", "1") == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert run_here("demo", str(run)) == 0
    found = ([0] * 5 + [1] * 5, "Examples: test images of pets.")
    assert examples_of(tmp_path / "demo.html") == found
    (tmp_path / "pets").rename(tmp_path / "animals")
    assert run_here("demo", str(run), "--root", str(tmp_path / "animals")) == 0
    assert examples_of(tmp_path / "demo.html") == (found[0], "Examples: test images of animals.")
