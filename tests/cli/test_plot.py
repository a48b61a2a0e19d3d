"""`mlpkit plot` in this process."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from mlpkit.cli import _main as main


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of one epoch."""
    folder = tmp_path_factory.mktemp("plot")
    words = ["train", "--epochs", "1", "--hidden-features", "16", "--runs", str(folder / "runs")]
    assert main.run(words) == 0
    (run,) = (folder / "runs").iterdir()
    return run


def test_a_run_is_drawn(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A picture of each kind, its path printed, each a whole PNG."""
    capsys.readouterr()
    assert main.run(["plot", str(trained)]) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    names = (
        "learning_curves", "confusion_matrix", "worst_mistakes", "calibration",
        "first_layer_weights", "layer_health", "layers",
    )  # fmt: skip
    assert paths == [trained / "plots" / f"{name}.png" for name in names]
    for path in paths:
        with Image.open(path) as picture:
            picture.load()
            assert picture.format == "PNG"


def test_several_runs_are_compared(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One picture of all histories, in the format and the folder that were asked for."""
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "history.json").write_bytes((trained / "history.json").read_bytes())
    words = ["plot", str(trained), str(tmp_path / "second"), "--out", str(tmp_path), "--format"]
    assert main.run([*words, "svg"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "learning_curves.svg")
    assert "<svg" in (tmp_path / "learning_curves.svg").read_text()


def test_activation_functions_need_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page of the lecture, alone; with a run, beside its other pictures."""
    monkeypatch.chdir(tmp_path)
    assert main.run(["plot", "--activations", "--appearance", "dark"]) == 0
    assert capsys.readouterr().out == "plots/activation_functions.png\n"
    with Image.open(tmp_path / "plots" / "activation_functions.png") as picture:
        assert picture.convert("RGB").getpixel((0, 0)) == (0x14, 0x1B, 0x28)


@pytest.mark.parametrize("folders", [("one",), ("one", "two")])
def test_what_is_no_run_is_one_sentence(
    tmp_path: Path,
    folders: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 1, the folder named, nothing written."""
    monkeypatch.chdir(tmp_path)
    assert main.run(["plot", *folders]) == 1
    message = capsys.readouterr().err
    assert message.startswith("mlpkit: ")
    assert "must be the folder of a run that mlpkit train has finished, got 'one'" in message
    assert len(message.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_no_run_is_misuse() -> None:
    """At least one folder is needed."""
    try:
        code = main.run(["plot"])
    except SystemExit as end:  # tyro's way out
        code = int(end.code or 0)
    assert code == 2
