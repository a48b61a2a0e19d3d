"""What the commands print: any path in any encoding, and the words of the command line."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.process import command, run

from mlpkit import SoftmaxClassifier
from mlpkit.cli._output import as_options
from mlpkit.nn import MLP

ODD = os.fsdecode(b"r\xff")  # no UTF-8


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The folder of a small classifier."""
    return SoftmaxClassifier(
        MLP(4, (3,), 2), classes=("a", "b"), mean=33.0, std=78.0, input_shape=(2, 2)
    ).save(tmp_path / "model")


@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii:strict", "latin-1:strict"])
def test_a_path_that_is_no_utf8(tmp_path: Path, encoding: str) -> None:
    """The path is printed byte by byte in a strict encoding, and nothing fails."""
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


def test_a_root_that_toml_cannot_hold(tmp_path: Path) -> None:
    """The options of a run are a file in UTF-8; the run fails before it has a folder."""
    done = run("train", "emnist_mnist", "--root", ODD, "--epochs", "1", cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert not (tmp_path / "runs").exists()
    done = run("train", "digits", "--root", ODD, "--epochs", "1", cwd=tmp_path)
    assert done.returncode == 1
    assert "mlpkit: --root must be a path in UTF-8, got " in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("words", [("demo",), ("export", "--to", "pt2")])
def test_standard_output_as_the_file(tmp_path: Path, model: Path, words: tuple[str, ...]) -> None:
    """It holds the file alone, without its path behind."""
    name, *others = words
    for out in ("/dev/stdout", "file"):
        done = subprocess.run(
            command(name, os.fspath(model), *others, "--out", out),
            cwd=tmp_path,
            capture_output=True,
            check=True,
        )
        if out == "file":
            assert done.stdout == b"file\n"
        else:
            assert done.stdout.startswith((b"<!DOCTYPE html>", b"<!doctype html>", b"PK"))
            assert b"/dev/stdout" not in done.stdout


def test_closed_streams(tmp_path: Path) -> None:
    """Python has None for a stream that the parent process closed."""
    for redirected, words, code in (
        (">&-", ("data", "info", "digits"), 0),
        ("2>&-", ("evaluate", "nowhere", "digits"), 1),
    ):
        shell = ("sh", "-c", f'exec "$@" {redirected}', "sh")
        done = subprocess.run(
            [*shell, *command(*words)], cwd=tmp_path, capture_output=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (code, b"", b"")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("make them equal, or pass residual=False", "make them equal, or leave out --residual"),
        ('or set monitor="train_loss"', "or set --monitor train_loss"),
        ("its moment is 3; pass init='torch'", "its moment is 3; pass --init torch"),
        ("set max_norm=2.5 for it", "set --max-norm 2.5 for it"),
        ("runs/seed=3 must be a folder", "runs/seed=3 must be a folder"),
        ("pass flatten=True to MLP", "pass flatten=True to MLP"),  # no option
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
