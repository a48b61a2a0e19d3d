"""`mlpkit train`: its output, its files and resumed runs."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mlpkit import SoftmaxClassifier
from mlpkit.cli._train_defaults import train_defaults
from mlpkit.data import digits
from mlpkit.nn import ActivationConfig, MLPConfig


def same_weights(first: Path, second: Path) -> bool:
    """Return whether the models of two runs are equal bit by bit."""
    one, two = (SoftmaxClassifier.load(run / "model").state_dict() for run in (first, second))
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_options_configure_the_network_and_the_run(
    run_here: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The saved model has the options of the command line, and each epoch has one line."""
    words = ("train", "--epochs", "2", "--hidden-features", "6", "--activation", "maxout")
    assert run_here(*words, "--norm", "layer", "--seed", "3") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "network: 64 -> 6 -> 10, 874 parameters" in lines
    assert [line[:9] for line in lines if line.startswith("epoch")] == ["epoch 1/2", "epoch 2/2"]
    (folder,) = (tmp_path / "runs").iterdir()
    config = SoftmaxClassifier.load(folder / "model").network.config
    assert isinstance(config, MLPConfig)
    assert config.activation == ActivationConfig("maxout", num_pieces=2)
    assert config.norm == "layer"


def test_each_epoch_has_one_line_with_progress_lines(
    run_here: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    """The command prints the lines, so the trainer does not."""
    words = ("--epochs", "2", "--hidden-features", "4", "--progress", "lines")
    assert run_here("train", *words) == 0
    printed = capfd.readouterr()
    assert printed.out.count("epoch ") == 2
    assert printed.err == ""


def test_without_progress_no_epoch_has_a_line(
    run_here: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    """The summary and the result are printed."""
    words = ("--epochs", "2", "--hidden-features", "4", "--progress", "off")
    assert run_here("train", *words) == 0
    printed = capfd.readouterr()
    assert "epoch " not in printed.out
    assert "test accuracy: " in printed.out
    assert printed.err == ""


def test_an_epoch_has_a_line_without_the_bar(
    run_here: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal with standard output and standard error, the line erases the bar."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setattr("sys.stderr", screen)
    assert run_here("train", "--epochs", "2", "--hidden-features", "4") == 0
    shown = screen.getvalue()
    assert "0/40 [" in shown
    assert shown.count("epoch 1/2") == shown.count("\r\x1b[Kepoch 1/2") == 1


def test_two_runs_have_separate_folders_and_equal_weights(
    run_here: Callable[..., int], tmp_path: Path
) -> None:
    """Two runs with the same options have two folders, and weights that are equal bit by bit."""
    for _ in range(2):
        assert run_here("train", "--epochs", "2", "--hidden-features", "16") == 0
    first, second = sorted((tmp_path / "runs").iterdir())
    assert same_weights(first, second)


def test_the_options_of_a_run_repeat_it(run_here: Callable[..., int], tmp_path: Path) -> None:
    """--config with the file of another run gives the same weights."""
    words = ("train", "--epochs", "1", "--hidden-features", "6", "--seed", "5")
    assert run_here(*words) == 0
    (first,) = (tmp_path / "runs").iterdir()
    assert run_here("train", "--config", str(first / "config.toml"), "--runs", "again") == 0
    (second,) = (tmp_path / "again").iterdir()
    assert same_weights(first, second)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--device", "meta9"), "device must be"),
        (("--device", "xpu:7"), "device must be a device that this machine has"),
        (("--hidden-features", "90000000", "90000000"), "out of memory"),
    ],
)
def test_missing_devices_and_memory_are_an_error(
    words: tuple[str, ...],
    message: str,
    run_here: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """The error explains the reason, and no folder is created."""
    assert run_here("train", *words) in (1, 2)
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_run_killed_before_its_first_checkpoint_restarts(
    run_here: Callable[..., int], tmp_path: Path
) -> None:
    """--resume works with the options alone, or with the best checkpoint but not the last."""
    assert run_here("train", "--epochs", "2", "--hidden-features", "16") == 0
    (whole,) = (tmp_path / "runs").iterdir()
    for kept in ((), ("best.pt",)):
        folder = tmp_path / f"killed-{len(kept)}"
        (folder / "checkpoints").mkdir(parents=True)
        for name in ("config.toml", *(f"checkpoints/{name}" for name in kept)):
            (folder / name).write_bytes((whole / name).read_bytes())
        assert run_here("train", "--resume", str(folder)) == 0
        assert same_weights(whole, folder)


def test_probabilities_are_calibrated_on_the_validation_set(
    run_here: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The saved temperature is that of calibrate, and the saved metrics include it."""
    assert run_here("train", "--epochs", "3", "--hidden-features", "16") == 0
    lines = capsys.readouterr().out.splitlines()
    (folder,) = (tmp_path / "runs").iterdir()
    model = SoftmaxClassifier.load(folder / "model")
    temperature = float(model.temperature)
    assert f"temperature: {temperature:.3f}, fitted to the validation examples" in lines
    val, test = digits().val, digits().test
    assert val is not None
    assert model.calibrate(val) == pytest.approx(temperature, rel=1e-4)
    chosen = model.predict_proba(test.inputs)[torch.arange(len(test)), test.targets]
    kept = json.loads((folder / "test.json").read_text())
    assert kept["loss"] == pytest.approx(float(-chosen.log().mean()), rel=1e-4)


def test_a_network_trained_on_pooled_images_takes_original_images(
    run_here: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """--pool: training and validation use 4 x 4 pixels, the saved classifier and the test 8 x 8."""
    words = ("train", "--epochs", "20", "--hidden-features", "32", "--pool", "2")
    assert run_here(*words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "network: 16 -> 32 -> 10, 874 parameters, on means of 2 x 2 pixels" in lines
    assert (
        "for whole images: 64 -> 32 -> 10, 2,410 parameters; "
        "each weight of the first layer is repeated for 2 x 2 pixels"
    ) in lines
    (folder,) = (tmp_path / "runs").iterdir()
    model = SoftmaxClassifier.load(folder / "model")
    assert model.input_shape == (8, 8)
    test = digits().test
    accuracy = (model.predict(test.inputs) == test.targets).double().mean()
    assert accuracy > 0.8  # lower than with 64 pixels
    assert f"test accuracy: {accuracy:.2%} of 360 examples" in lines
    assert run_here("train", "--config", str(folder / "config.toml"), "--runs", "again") == 0
    (again,) = (tmp_path / "again").iterdir()
    assert same_weights(folder, again)


def test_an_invalid_pool_is_an_error(
    run_here: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A block that does not divide the images is an error before a folder is created."""
    assert run_here("train", "--pool", "3") == 1
    message = "pool must be a divisor of both sides of the images (8 x 8), got 3"
    assert message in capsys.readouterr().err
    assert run_here("train", "--pool", "0") != 0
    assert "pool must be a positive integer, got 0" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_run_with_pool_is_resumed(run_here: Callable[..., int], tmp_path: Path) -> None:
    """The option pool comes from the run; a run without it was not pooled."""
    words = ("train", "--epochs", "2", "--hidden-features", "8", "--pool", "2")
    assert run_here(*words) == 0
    (whole,) = (tmp_path / "runs").iterdir()
    folder = tmp_path / "killed"
    (folder / "checkpoints").mkdir(parents=True)
    config = (whole / "config.toml").read_text()
    (folder / "config.toml").write_text(config)
    assert run_here("train", "--resume", str(folder)) == 0
    assert same_weights(whole, folder)
    (folder / "config.toml").write_text(
        config.replace("pool = 2\n", "").replace('preset = "default"', 'preset = "fast"')
    )
    assert train_defaults(["--resume", str(folder)]).pool == 1
