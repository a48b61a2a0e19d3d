"""What the commands print: any path in any encoding, and the words of the command line."""

from __future__ import annotations

import dataclasses
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.cli.process import command, run

from mlpkit import SoftmaxClassifier
from mlpkit.cli._output import accept_any_text, as_options
from mlpkit.nn import MLP, MLPConfig
from mlpkit.training import TrainerConfig

ODD = os.fsdecode(b"r\xff")  # no UTF-8


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The folder of a small classifier."""
    return SoftmaxClassifier(
        MLP(4, (3,), 2), classes=("a", "b"), mean=33.0, std=78.0, input_shape=(2, 2)
    ).save(tmp_path / "model")


class Printed:
    """The bytes that a process would have printed."""

    def __init__(self, patch: pytest.MonkeyPatch, encoding: str = "utf-8") -> None:
        self._out, self._err = io.BytesIO(), io.BytesIO()
        out = io.TextIOWrapper(self._out, encoding, "strict", write_through=True)
        err = io.TextIOWrapper(self._err, encoding, "backslashreplace", write_through=True)
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        accept_any_text()

    def read(self) -> tuple[bytes, bytes]:
        """Return what was printed to standard output and to standard error."""
        return self._out.getvalue(), self._err.getvalue()


def test_a_path_that_is_no_utf8(
    tmp_path: Path, trained: Path, run_here: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path is printed byte by byte in a strict encoding, and nothing fails."""
    words = ("train", "--epochs", "1", "--hidden-features", "4", "--runs", ODD)
    with monkeypatch.context() as patch:
        printed = Printed(patch, "ascii")
        assert run_here(*words) == 0
        assert b"run: " + os.fsencode(ODD) in printed.read()[0]
    done = subprocess.run(
        command("report", os.fspath(trained), "--out", f"{ODD}.html"),
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "ascii:strict"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"r\xff.html\n"), done.stderr


@pytest.mark.long
@pytest.mark.parametrize("encoding", ["ascii:strict", "utf-8:strict", "latin-1:strict"])
def test_a_path_that_is_no_utf8_in_each_encoding(tmp_path: Path, encoding: str) -> None:
    """The path is printed byte by byte by each process."""
    words = ("train", "--epochs", "1", "--hidden-features", "4", "--runs", ODD)
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(
        command(*words), cwd=tmp_path, env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / ODD).iterdir()
    assert b"run: " + os.fsencode(folder.relative_to(tmp_path)) in done.stdout
    done = subprocess.run(
        command("report", os.fspath(folder), "--out", f"{ODD}.html"),
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"r\xff.html\n"), done.stderr


def test_a_root_that_toml_cannot_hold(
    tmp_path: Path, run_here: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The options of a run are a file in UTF-8; the run fails before it has a folder."""
    with monkeypatch.context() as patch:
        printed = Printed(patch)
        assert run_here("train", "emnist_mnist", "--root", ODD, "--epochs", "1") in (1, 2)
        assert not (tmp_path / "runs").exists()
        assert run_here("train", "digits", "--root", ODD, "--epochs", "1") == 1
        assert b"mlpkit: --root must be a path in UTF-8, got " in printed.read()[1]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "words", [("demo",), pytest.param(("export", "--to", "pt2"), marks=pytest.mark.long)]
)
def test_standard_output_as_the_file(
    tmp_path: Path,
    model: Path,
    words: tuple[str, ...],
    run_here: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It holds the file alone, without its path behind."""
    name, *others = words
    assert run_here(name, os.fspath(model), *others, "--out", "file") == 0
    assert capsys.readouterr().out == "file\n"
    done = subprocess.run(
        command(name, os.fspath(model), *others, "--out", "/dev/stdout"),
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    assert done.stdout.startswith((b"<!DOCTYPE html>", b"<!doctype html>", b"PK"))
    assert b"/dev/stdout" not in done.stdout


@pytest.mark.parametrize(
    ("redirected", "words", "code"),
    [
        pytest.param(">&-", ("data", "info", "digits"), 0, marks=pytest.mark.long),
        ("2>&-", ("evaluate", "nowhere", "digits"), 1),
    ],
)
def test_closed_streams(tmp_path: Path, redirected: str, words: tuple[str, ...], code: int) -> None:
    """Python has None for a stream that the parent process closed."""
    shell = ("sh", "-c", f'exec "$@" {redirected}', "sh")
    done = subprocess.run(
        [*shell, *command(*words)], cwd=tmp_path, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, b"", b"")


def test_a_closed_standard_output(
    run_here: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A command without standard output succeeds and prints nothing elsewhere."""
    monkeypatch.setattr(sys, "stdout", None)
    assert run_here("data", "info", "digits") == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("make them equal, or pass residual=False", "make them equal, or leave out --residual"),
        ('or set monitor="train_loss"', "or set --monitor train_loss"),
        ("its moment is 3; pass init='torch'", "its moment is 3; pass --init torch"),
        ("set max_norm=2.5 for it", "set --max-norm 2.5 for it"),
        ("runs/seed=3 must be a folder", "runs/seed=3 must be a folder"),
        ("pass flatten=True to MLP", "pass flatten=True to MLP"),  # no option
        (
            "batch_size must be a positive integer, got 0",
            "--batch-size must be a positive integer, got 0",
        ),
        ("hidden_features[1] must be 1, got 0", "--hidden-features must be 1, got 0"),
        ("seed must be 1, got 'seed must be 2'", "--seed must be 1, got 'seed must be 2'"),
        (
            "device must be x for cuda_graph, got 'cpu'",
            "--device must be x for --cuda-graph, got 'cpu'",
        ),
        ("x must be 1 if residual is True, got 2", "x must be 1 if --residual is given, got 2"),
        ("x must be 1 if residual is False, got 2", "x must be 1 if --residual is left out, got 2"),
        ("x must be 1 if bias is False, got 2", "x must be 1 if --no-bias is given, got 2"),
        ("set bias=False for it", "set --no-bias for it"),
        ("set bias=True for it", "leave out --no-bias for it"),
        ("the sum of batch_size and sync_every", "the sum of --batch-size and --sync-every"),
        ("/a/batch_size/x.png must be a file", "/a/batch_size/x.png must be a file"),
        ("a/batch_size: no such file", "a/batch_size: no such file"),
        (
            "fused must be False for it; set fused=False",
            "--optimizer NAME:fused must be False for it; set --optimizer NAME:fused=false",
        ),
        ("monitor must be x, got 'y'; add the metric to metrics", "--monitor must be x, got 'y'"),
        ("target must be left out, got ('x',); y", "--target must be left out, got 'x'; y"),
        ("batch_size must be 2; leave it None", "--batch-size must be 2; leave it out"),
        ("run must be a folder, got 'x'", "RUN must be a folder, got 'x'"),
        (
            "dropout must be x, got [ActivationConfig('leaky_relu', negative_s...",
            "--dropout must be x",
        ),
        (
            "batch_size must be 2; choose, or pass data.batches(..., drop_last=True)",
            "--batch-size must be 2; choose",
        ),
        (
            "optimizer must be OptimizerConfig, got 3",
            "--optimizer must be a table of options, got 3",
        ),
        (
            "ActivationConfig.name must be 'relu', got 'x'",
            "activation.name must be 'relu', got 'x'",
        ),
        (
            "a key of NetworkOptions in x.toml must be one of bias, flatten, max_norm, got 'x'",
            "a key of [network] in x.toml must be one of bias, max_norm, got 'x'",
        ),
    ],
)
def test_messages_name_options(message: str, expected: str) -> None:
    """Python arguments become the options with the same meaning."""
    assert as_options(message) == expected


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("--hidden-features", "8", "9", "--residual"), "--residual"),
        (("--early-stopping", "3", "--val-size", "0"), ""),
    ],
)
def test_no_error_names_a_python_argument(
    words: tuple[str, ...],
    option: str,
    run_here: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Errors of the network, the run and the data are in the words of the command line."""
    assert run_here("train", *words) in (1, 2)
    printed = capsys.readouterr().err
    assert option in printed
    assert "=" not in printed


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist"])
def test_missing_data_is_explained_in_the_words_of_the_command_line(
    name: str, run_here: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the folder and the variable, and no Python argument."""
    assert run_here("train", name, "--root", "nowhere") == 1
    printed = capsys.readouterr().err
    assert "MLPKIT_DATA" in printed
    assert "=" not in printed


def test_a_changed_file_is_explained_in_the_words_of_the_command_line(
    tmp_path: Path, run_here: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """The command line has no option for `verify`, which is in a note for Python."""
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(
        bytes([0, 0, 8, 1, 0, 0, 39, 16]) + bytes(10_000)
    )
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(
        bytes([0, 0, 8, 1, 0, 0, 234, 96]) + bytes(60_000)
    )
    assert run_here("train", "mnist", "--root", str(tmp_path)) == 1
    printed = capsys.readouterr().err
    assert "must be the published file" in printed
    assert "verify" not in printed


_NAMES = {field.name for kind in (MLPConfig, TrainerConfig) for field in dataclasses.fields(kind)}
_WRONG = [
    "train --batch-size 0",
    "train --hidden-features 0",
    "train --hidden-features 1000000000000000000",
    "train --hidden-features 5 6 --residual --norm batch",
    "train --dropout 0.1 0.2 0.3 0.4",
    "train --input-dropout nan",
    "train --max-norm -1",
    "train --activation relu relu relu relu",
    "train --activation maxout:num_pieces=99999999999999999999",
    "train --activation foo",
    "train --optimizer sgd:lrr=1",
    "train --optimizer sgd:momentum=0,nesterov=true",
    "train --optimizer muon --hidden-features",
    "train --averaging foo",
    "train --early-stopping 0",
    "train --class-weights 1 2",
    "train --seed 18446744073709551616",
    "train --device foo",
    "train --device meta",
    "train --cuda-graph --device cpu",
    "train --eval-batch-size -2",
    "train --norm batch --batch-size 1",
    "train --norm batch --batch-size 2 --hidden-features 4",
    "train --pool 0",
    "train --config odd.toml",
    "train --resume .",
    "train --runs odd.toml",
    "data show digits --columns 0",
    "data info foo",
    "evaluate model digits --device meta",
    "predict --model model",
    "predict --model model pipe.png",
    "predict --model model image.png --ink 0",
    "predict --model model image.png --ink 1e300",
    "report model",
    "plot model",
    "plot --activations --out odd.toml",
    "export model --out .",
]


@pytest.mark.parametrize("line", _WRONG)
def test_no_message_has_a_traceback_or_names_a_python_argument(
    line: str, run_here: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The exit code is 1 or 2, and the message has the words of the command line."""
    SoftmaxClassifier(
        MLP(64, (3,), 10), classes=tuple("0123456789"), mean=5.0, std=6.0, input_shape=(8, 8)
    ).save("model")
    os.mkfifo("pipe.png")
    (tmp_path / "odd.toml").write_text("[network]\nin_feature = 3\n")
    drawn = torch.zeros(28, 28, dtype=torch.uint8)
    drawn[6:22, 13:16] = 255
    Image.fromarray(drawn.numpy()).save("image.png")
    before = {path.name for path in tmp_path.iterdir()}
    assert run_here(*line.split()) in (1, 2)
    printed = capsys.readouterr().err
    # without values in quotes, descriptions of options and the rules that list keys of a file
    words = re.sub(r"'[^']*'|--[\w-]+|NAME:\w+|one of [\w, ]+|\bfor argument '\w+'", "", printed)
    named = [name for name in _NAMES if "_" in name and re.search(rf"\b{name}\b", words)]
    assert not named, printed
    first = re.search(r"(?:mlpkit: |Error parsing [\w.-]+: )(\w+)(?:\[\d\])? must", printed)
    assert first is None or first[1] not in _NAMES, printed
    assert not re.search(r"[a-z]\.[a-z]+'|\w+(?:Config|Options)\b|True", words), printed
    created = {path.name for path in tmp_path.iterdir()} - before
    assert created <= {"runs"}
    assert not created or not any((tmp_path / "runs").iterdir())


@pytest.mark.long
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train --batch-size 0", "mlpkit: --batch-size must be a positive integer, got 0\n"),
        (
            "train --cuda-graph --device cpu",
            "mlpkit: --device must be a CUDA device for --cuda-graph, got 'cpu'; "
            "leave out --cuda-graph\n",
        ),
        ("predict --model x", "FILE must be at least one file, got none"),
    ],
)
def test_the_installed_command_names_options(tmp_path: Path, line: str, message: str) -> None:
    done = run(*line.split(), cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert message in done.stderr
