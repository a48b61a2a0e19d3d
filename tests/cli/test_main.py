"""The installed command `mlpkit`, end to end."""

from __future__ import annotations

import gzip
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

import pytest
import torch
from tests.cli.process import command, run

from mlpkit import SoftmaxClassifier
from mlpkit.data import digits
from mlpkit.training import History

RunHere: TypeAlias = Callable[..., int]


def test_train_learns_the_digits(tmp_path: Path) -> None:
    """`mlpkit train` without options has 97 % test accuracy and writes one folder."""
    done = run("train", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    (folder,) = (tmp_path / "runs").iterdir()
    accuracy = json.loads((folder / "test.json").read_text())["classification"]["accuracy"]
    assert accuracy >= 0.97
    assert f"test accuracy: {accuracy:.2%} of 360 examples" in lines
    assert lines[-1] == f"next: mlpkit report {folder.relative_to(tmp_path)}"
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoints", "config.toml", "history.csv", "history.json", "layer_health.json",
        "model", "test.json",
    ]  # fmt: skip
    history = History.load_json(folder / "history.json")
    assert [line for line in lines if line.startswith("epoch ")][-1].endswith(
        f"val accuracy {history[-1].val_accuracy:.2%}  {history[-1].seconds:.1f} s"
    )
    model = SoftmaxClassifier.load(folder / "model")
    test = digits().test
    assert float((model.predict(test.inputs) == test.targets).double().mean()) == accuracy


def test_a_wrong_path_is_an_error(
    tmp_path: Path, run_here: RunHere, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 1, the error is one line with the path, and no file is left."""
    assert run_here("train", "mnist", "--root", "nowhere") == 1
    printed = capsys.readouterr().err
    assert printed.startswith("mlpkit: nowhere ")
    assert len(printed.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.mnist
@pytest.mark.parametrize("damage", ["truncated", "labels of the other set", "flipped"])
def test_damaged_files_are_an_error(
    tmp_path: Path,
    mnist_root: Path,
    damage: str,
    run_here: RunHere,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The error names the file, and no run folder is created."""
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
    assert run_here("train", "mnist", "--root", str(data)) == 1
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
def test_an_invalid_command_line_is_an_error(
    tmp_path: Path,
    words: tuple[str, ...],
    message: str,
    run_here: RunHere,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The exit code is 2, the message explains the error, and nothing is written."""
    assert run_here(*words) == 2
    printed = capsys.readouterr()
    assert message in printed.out + printed.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.long)],
)
def test_a_run_resumes_after_a_signal(
    tmp_path: Path, number: signal.Signals, code: int, run_here: RunHere
) -> None:
    """An interrupted and resumed run has the weights of an uninterrupted one."""
    words = ("train", "--epochs", "60", "--hidden-features", "32")
    assert run_here(*words, "--runs", "whole") == 0
    process = subprocess.Popen(
        command(*words), cwd=tmp_path, text=True,
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
    assert stdout.endswith(f"resume with: mlpkit train --resume {folder.relative_to(tmp_path)}\n")
    assert run_here("train", "--resume", str(folder)) == 0
    (uninterrupted,) = (tmp_path / "whole").iterdir()
    one = SoftmaxClassifier.load(uninterrupted / "model").state_dict()
    two = SoftmaxClassifier.load(folder / "model").state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_version_is_printed_without_torch(tmp_path: Path) -> None:
    """The import of torch takes seconds."""
    code = (
        "import sys; from mlpkit.cli._main import run; code = run(['--version']); "
        "assert 'torch' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"mlpkit {version('mlpkit')}\n"
