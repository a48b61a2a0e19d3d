"""`mlpkit predict`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from mlpkit.data import digits
from mlpkit.models import SoftmaxClassifier


@pytest.fixture
def image_names(tmp_path: Path) -> list[str]:
    """The PNG and JPEG files of 120 test digits, enlarged and dark on light."""
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
    image_names: list[str],
    run_here: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """At least 105 of 120 digits are recognized, and JSON agrees with the table."""
    words = ["predict", *image_names, "--model", str(digits_run)]
    assert run_here(*words, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["image"] for row in rows] == image_names
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
    assert lines[0].split() == ["image", "class", "probability", "runner-up"]
    first = rows[0]
    second = first["probabilities"][first["runner_up"]]
    assert lines[1].split() == [
        first["image"],
        first["class"],
        f"{first['probability']:.2%}",
        first["runner_up"],
        f"({second:.2%})",
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.png", "mlpkit: the image nowhere.png must be a file, got no such file"),
        ("text.png", "mlpkit: the image text.png must be an image"),
        ("white.png", "mlpkit: white.png: image must be an image of a digit, got an image in"),
        ("cut.png", "mlpkit: the image cut.png must be readable"),
    ],
)
def test_an_invalid_image_is_an_error(
    tmp_path: Path,
    digits_run: Path,
    name: str,
    message: str,
    run_here: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The exit code is 1, and the error is one line with the path of the image."""
    (tmp_path / "text.png").write_text("not an image")
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
        ((), "FILE must be at least one file"),
        (("a.png", "--ink", "0"), "ink must be a finite number greater than 0, got 0.0"),
        (("a.png", "--fit", "middle"), "center"),
    ],
)
def test_an_invalid_command_line_is_an_error(
    tmp_path: Path,
    words: tuple[str, ...],
    message: str,
    run_here: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The exit code is 2 even though the model does not exist."""
    assert run_here("predict", *words, "--model", "nowhere") == 2
    printed = capsys.readouterr()
    assert message in printed.out + printed.err


def test_a_model_of_vectors_is_an_error(
    tmp_path: Path, digits_run: Path, run_here: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The model must be a classifier of gray images."""
    network = SoftmaxClassifier.load(digits_run / "model").network
    SoftmaxClassifier(network, classes=tuple("0123456789")).save(tmp_path / "model")
    assert run_here("predict", "a.png", "--model", "model") == 1
    assert "MODEL must be a classifier of gray images" in capsys.readouterr().err
