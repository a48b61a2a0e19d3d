"""The installed command `mlpkit`, driven as a person drives it."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image

from mlpkit import SoftmaxClassifier
from mlpkit.cli import _main as main
from mlpkit.data import digits
from mlpkit.training import History

MLPKIT = shutil.which("mlpkit", path=str(Path(sys.executable).parent))


def command(*words: str) -> list[str]:
    """Return the command line of the installed script."""
    assert MLPKIT is not None, "the package is not installed beside this Python"
    return [MLPKIT, *words]


def run(
    *words: str, cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the installed command in a folder."""
    return subprocess.run(
        command(*words),
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_train_learns_the_digits(tmp_path: Path) -> None:
    """`mlpkit train` alone: 97 % on the test digits, and everything kept in one folder."""
    done = run("train", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    (folder,) = (tmp_path / "runs").iterdir()
    accuracy = json.loads((folder / "test.json").read_text())["classification"]["accuracy"]
    assert accuracy >= 0.97
    assert f"test accuracy: {accuracy:.2%} of 360 examples" in lines
    assert lines[-1] == "next: mlpkit train mnist"
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoints", "config.toml", "history.csv", "history.json", "model", "test.json",
    ]  # fmt: skip
    history = History.from_json(folder / "history.json")
    assert [line for line in lines if line.startswith("epoch ")][-1].endswith(
        f"val accuracy {history[-1].val_accuracy:.2%}  {history[-1].seconds:.1f} s"
    )
    model = SoftmaxClassifier.load(folder / "model")
    test = digits().test
    assert float((model.predict(test.inputs) == test.targets).float().mean()) == accuracy


def test_two_runs_never_share_a_folder_and_agree(tmp_path: Path) -> None:
    """Two equal runs have two folders, and the same weights to the last bit."""
    for _ in range(2):
        assert run("train", "--epochs", "2", cwd=tmp_path).returncode == 0
    first, second = sorted((tmp_path / "runs").iterdir())
    one, two = (SoftmaxClassifier.load(path / "model").state_dict() for path in (first, second))
    assert all(torch.equal(one[name], two[name]) for name in one)


def run_here(words: Sequence[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a command line in this process, which is much faster than starting another."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("MLPKIT_OFFLINE", "1")
    try:
        return main.run(words)
    except SystemExit as end:  # tyro's way out
        return int(end.code or 0)


def test_a_wrong_path_is_one_sentence(tmp_path: Path) -> None:
    """Exit code 1, one line that names the path, no traceback, and nothing left behind."""
    done = run("train", "mnist", "--root", "nowhere", cwd=tmp_path, env={"MLPKIT_OFFLINE": "1"})
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("mlpkit: nowhere ")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.mnist
@pytest.mark.parametrize("damage", ["truncated", "labels of the other set", "flipped"])
def test_damaged_files_end_without_a_run(
    tmp_path: Path,
    mnist_root: Path,
    damage: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each damage ends with one sentence that names the file, and no half-made run."""
    data = tmp_path / "data"
    data.mkdir()
    for path in mnist_root.glob("*.gz"):
        (data / path.name).symlink_to(path)
    labels = data / "train-labels-idx1-ubyte.gz"
    content = gzip.decompress(labels.read_bytes())
    labels.unlink()
    if damage == "truncated":
        labels.write_bytes(gzip.compress(content[:-5]))
    elif damage == "flipped":
        labels.write_bytes(gzip.compress(content[:-1] + bytes([content[-1] ^ 1])))
    else:
        shutil.copy(mnist_root / "t10k-labels-idx1-ubyte.gz", labels)
    assert run_here(["train", "mnist", "--root", str(data)], tmp_path, monkeypatch) == 1
    assert "train-labels-idx1-ubyte" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "train"),
        (("trian",), "train"),
        (("train", "--config", "nowhere.toml"), "nowhere.toml"),
        (("train", "--resume", "nowhere"), "nowhere"),
        (("train", "--epoch", "3"), "--epochs"),
        (("train", "--epochs", "three"), "three"),
        (("train", "--epochs", "0"), "epochs must be a positive integer, got 0"),
        (("train", "--activation", "rleu"), "relu"),
        (("train", "--optimizer", "sgd:lr=-1"), "lr must be"),
        (("train", "minst"), "minst"),
    ],
)
def test_a_wrong_command_line_is_explained(
    tmp_path: Path,
    words: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2, a message that helps, nothing touched."""
    assert run_here(words, tmp_path, monkeypatch) == 2
    printed = capsys.readouterr()
    assert message in printed.out + printed.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_resume_goes_on(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """An interrupted and resumed run ends with the weights of an uninterrupted one."""
    whole = run("train", "--epochs", "6", "--runs", "whole", cwd=tmp_path)
    assert whole.returncode == 0
    process = subprocess.Popen(
        command("train", "--epochs", "6"), cwd=tmp_path, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    while not process.stdout.readline().startswith("epoch"):
        assert process.poll() is None
    time.sleep(0.05)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr
    (folder,) = (tmp_path / "runs").iterdir()
    assert stdout.endswith(f"go on with: mlpkit train --resume {folder.relative_to(tmp_path)}\n")
    resumed = run("train", "--resume", str(folder), cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    (uninterrupted,) = (tmp_path / "whole").iterdir()
    one = SoftmaxClassifier.load(uninterrupted / "model").state_dict()
    two = SoftmaxClassifier.load(folder / "model").state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("words", [(), ("train",), ("data",), ("data", "show"), ("info",)])
def test_help_fits_a_screen(
    tmp_path: Path,
    words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Help has at most 50 lines."""
    assert run_here([*words, "--help"], tmp_path, monkeypatch) == 0
    lines = capsys.readouterr().out.splitlines()
    assert 5 < len(lines) <= 50


def test_info_and_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Versions for a bug report, licence and citation of a data set, and a picture of it."""
    assert run_here(["info"], tmp_path, monkeypatch) == 0
    assert torch.__version__.partition("+")[0] in capsys.readouterr().out
    assert run_here(["data", "info", "digits"], tmp_path, monkeypatch) == 0
    facts = capsys.readouterr().out
    assert "CC BY 4.0" in facts
    assert "Alpaydin" in facts
    assert run_here(["data", "show", "digits", "--columns", "5"], tmp_path, monkeypatch) == 0
    assert capsys.readouterr().out == "digits.png\n"
    with Image.open(tmp_path / "digits.png") as picture:
        width, height = picture.size
    assert height == pytest.approx(2 * width, rel=0.1)  # ten rows of five
