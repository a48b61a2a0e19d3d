"""`mlpkit predict` says what is in a picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from mlpkit.data import digits
from mlpkit.models._softmax_classifier import SoftmaxClassifier


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    """A hundred and twenty test digits, drawn dark on light and large, in PNG and JPEG files."""
    images = digits().test.inputs[:120].float() / 16
    paths = []
    for index, image in enumerate(images):
        large = F.interpolate(image[None, None], size=(160, 160), mode="bicubic")[0, 0]
        paper = F.pad(large.clamp(0, 1), (70, 20, 30, 100))
        gray = (255 - 220 * paper).to(torch.uint8).numpy()
        path = tmp_path / f"{index}.{'png' if index % 2 else 'jpg'}"
        Image.fromarray(gray).save(path)
        paths.append(path.name)
    return paths


def test_drawn_digits_are_recognized(
    tmp_path: Path,
    digits_run: Path,
    pictures: list[str],
    run_here: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Seven of eight digits, wherever on the paper they are; JSON agrees with the table."""
    words = ["predict", *pictures, "--model", str(digits_run)]
    assert run_here(*words, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["picture"] for row in rows] == pictures
    right = [
        row["class"] == str(int(target))
        for row, target in zip(rows, digits().test.targets[: len(rows)], strict=True)
    ]
    assert sum(right) >= 105
    for row in rows:
        ranked = sorted(row["probabilities"].items(), key=lambda item: -item[1])
        assert (row["class"], row["probability"]) == ranked[0]
        assert row["runner_up"] == ranked[1][0]
        assert sum(row["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)
    assert run_here(*words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["picture", "class", "probability", "runner-up"]
    first = rows[0]
    second = first["probabilities"][first["runner_up"]]
    assert lines[1].split() == [
        first["picture"],
        first["class"],
        f"{first['probability']:.2%}",
        first["runner_up"],
        f"({second:.2%})",
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.png", "mlpkit: the picture nowhere.png must be a file, got 'no such file'"),
        ("text.png", "mlpkit: the picture text.png must be a picture"),
        ("white.png", "mlpkit: white.png: image must be a picture of a digit, got 'an empty one"),
        ("cut.png", "mlpkit: the picture cut.png must be readable"),
    ],
)
def test_a_picture_that_is_none(
    tmp_path: Path,
    digits_run: Path,
    name: str,
    message: str,
    run_here: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 1 and one line that names the picture."""
    (tmp_path / "text.png").write_text("no picture")
    Image.new("L", (90, 60), 255).save(tmp_path / "white.png")
    noise = torch.randint(0, 256, (90, 60), dtype=torch.uint8).numpy()
    Image.fromarray(noise).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:900])
    assert run_here("predict", name, "--model", str(digits_run)) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith(message)
    assert len(printed.err.splitlines()) == 1
    assert printed.out == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "PICTURE must be at least one file"),
        (("a.png", "--ink", "0"), "ink must be a finite number greater than 0, got 0.0"),
        (("a.png", "--fit", "middle"), "center"),
    ],
)
def test_a_wrong_command_line(
    tmp_path: Path,
    words: tuple[str, ...],
    message: str,
    run_here: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2 before anything is read."""
    assert run_here("predict", *words, "--model", "nowhere") == 2
    printed = capsys.readouterr()
    assert message in printed.out + printed.err


def test_a_model_that_takes_no_pictures(
    tmp_path: Path, digits_run: Path, run_here: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A model of vectors is refused by name."""
    network = SoftmaxClassifier.load(digits_run / "model").network
    SoftmaxClassifier(network, classes=tuple("0123456789")).save(tmp_path / "model")
    assert run_here("predict", "a.png", "--model", "model") == 1
    assert "MODEL must be a classifier of gray pictures" in capsys.readouterr().err
