"""`mlpkit plot`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from mlpkit import MultilabelClassifier, Regressor
from mlpkit.cli import _main as main
from mlpkit.cli._plot import Plot
from mlpkit.data import LabeledTensors
from mlpkit.report import Run
from mlpkit.training import EpochRow, History


def test_a_run_is_plotted(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """There is one PNG file of each kind, and their paths are printed."""
    capsys.readouterr()
    assert main.run(["plot", str(trained)]) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    names = (
        "learning_curves", "confusion_matrix", "worst_mistakes", "calibration",
        "first_layer_weights", "layer_health", "layers",
    )  # fmt: skip
    assert paths == [trained / "plots" / f"{name}.png" for name in names]
    for path in paths:
        with Image.open(path) as image:
            image.load()
            assert image.format == "PNG"


def test_each_kind_of_model_has_its_plots() -> None:
    """Labels have curves and calibration; a regression has predictions and residuals."""
    inputs = torch.rand(40, 4, 4)
    labels = (torch.rand(40, 2) < 0.5).float()
    command = Plot(folders=(Path("run"),))
    row = EpochRow(epoch=0, step=9, lr=0.1, train_loss=1.5, seconds=2.0, examples_per_second=7.0)
    for test in (LabeledTensors(inputs, labels), LabeledTensors(inputs.flatten(1), labels)):
        for model, names in (
            (
                MultilabelClassifier.for_data(test, (6,)),
                ("roc_curves", "precision_recall_curves", "calibration"),
            ),
            (Regressor.for_data(test, (6,)), ("predicted_against_true", "residuals")),
        ):
            run = Run(title="", model=model, test=test, history=History([row]))
            are_images = ("first_layer_weights",) if test.inputs.ndim == 3 else ()
            figures = command._plot_run(run)
            assert tuple(figures) == ("learning_curves", *names, *are_images, "layers")


def test_several_runs_are_compared(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is one plot of all histories, in the chosen format and folder."""
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "history.json").write_bytes((trained / "history.json").read_bytes())
    words = ["plot", str(trained), str(tmp_path / "second"), "--out", str(tmp_path), "--format"]
    assert main.run([*words, "svg"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "learning_curves.svg")
    assert "<svg" in (tmp_path / "learning_curves.svg").read_text()


def test_activation_functions_need_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a run there is one plot, with the chosen background."""
    monkeypatch.chdir(tmp_path)
    assert main.run(["plot", "--activations", "--appearance", "dark"]) == 0
    assert capsys.readouterr().out == "plots/activation_functions.png\n"
    with Image.open(tmp_path / "plots" / "activation_functions.png") as image:
        assert image.convert("RGB").getpixel((0, 0)) == (0x14, 0x1B, 0x28)


@pytest.mark.parametrize("folders", [("one",), ("one", "two")])
def test_a_folder_without_a_run_is_an_error(
    tmp_path: Path,
    folders: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The exit code is 1, the error names the folder, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    assert main.run(["plot", *folders]) == 1
    message = capsys.readouterr().err
    assert message.startswith("mlpkit: ")
    assert "must be the folder of a run" in message
    assert "got 'one'" in message
    assert len(message.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_missing_argument_is_an_error() -> None:
    """At least one folder is required."""
    try:
        code = main.run(["plot"])
    except SystemExit as end:  # raised by tyro
        code = int(end.code or 0)
    assert code == 2
