"""Invalid command lines: one line on standard error, with the cure, and exit code 2."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mlpkit.cli import _usage
from mlpkit.cli._commands import COMMANDS
from mlpkit.cli._help import options_of
from mlpkit.cli._usage import values_of, with_none


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "COMMAND must be one of 'train', .*, got nothing; see mlpkit --help"),
        ("trian", "COMMAND must be .*, got 'trian'; did you mean 'train'?"),
        ("--versoin", "OPTION must be .*, got '--versoin'; did you mean '--version'?"),
        ("data", "COMMAND must be one of 'info', 'show', got nothing; see mlpkit data --help"),
        ("data shwo", "got 'shwo'; did you mean 'show'?"),
        ("data info minst", "DATASET must be .*, got 'minst'; did you mean 'mnist'?"),
        (
            "train --learning-rte=3",
            "OPTION must be an option of mlpkit train, got '--learning-rte'; "
            "did you mean '--optimizer NAME:lr=VALUE'?",
        ),
        ("train --batchsize 3", "got '--batchsize'; did you mean '--batch-size'?"),
        ("train --in-features 3", "OPTION must be .*, got '--in-features'"),
        ("evaluate x digits --zzz", "got '--zzz'; see mlpkit evaluate --help"),
        ("train --epochs x", "--epochs must be an integer, got 'x'"),
        ("train --epochs --seed 3", "--epochs must be an integer, got nothing"),
        ("train --mixup q", "--mixup must be a number, got 'q'"),
        ("train --dropout q", "--dropout must be numbers, got 'q'"),
        ("train --hidden-features 3 w", "--hidden-features must be integers, got 3 w"),
        ("train --image-size 3", "--image-size must be two integers, height and width, got '3'"),
        ("train --norm bacth", "--norm must be .*, got 'bacth'; did you mean 'batch'?"),
        ("train --preset fats", "--preset must be .*; did you mean 'fast'?"),
        ("train --optimizer sdg", "--optimizer must be one of .*, got 'sdg'; did you mean 'sgd'?"),
        (
            "train --optimizer sgd:lrr=1",
            "--optimizer NAME:OPTION must be one of 'adamw_lr', .*, got 'lrr'; did you mean 'lr'?",
        ),
        (
            "train --optimizer sgd:lr",
            "--optimizer NAME:OPTION must be followed by =VALUE, got 'lr'",
        ),
        ("train --optimizer sgd:lr=-1", "--optimizer NAME:lr must be .*, got -1"),
        (
            "train --monitor val_loss:up",
            "--monitor NAME:mode must be one of 'max', 'min', got 'up'",
        ),
        ("train --monitor val_acuracy", "--monitor must be .*; did you mean 'val_accuracy'?"),
        ("train --monitor val_f1:max", "--monitor must be one of .*, got 'val_f1'"),
        (
            "train --monitor grad_norm",
            "--monitor must be grad_norm:min or grad_norm:max, since the column has no direction",
        ),
        ("train --progress line", "--progress must be .*; did you mean 'lines'?"),
        ("train --class-weights cat", "--class-weights must be balanced, .*, got 'cat'"),
        ("train --target", "--target must be followed by COLUMN, got nothing"),
        (
            "train mnist --target y",
            "--target must be given with a CSV file .*, got 'y'; ./mnist is",
        ),
        ("train digits mnist", "the arguments must be those of mlpkit train, got 'mnist'; see"),
        ("evaluate", "MODEL and DATASET must be given, got nothing; see mlpkit evaluate --help"),
        ("predict a.png", "--model must be given, got nothing; see mlpkit predict --help"),
        ("export x --to onxx", "--to must be .*, got 'onxx'; did you mean 'onnx'?"),
    ],
)
def test_a_message_is_one_line_with_the_cure(
    line: str, message: str, run_here: Callable[..., int], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Without a box, on standard error; nothing is written."""
    assert run_here(*line.split()) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (printed_line,) = printed.err.splitlines()
    pattern = "mlpkit: .*" + message.replace("?", r"\?") if message else ""
    assert re.match(pattern, printed_line), printed_line
    assert printed_line.isascii()
    assert list(tmp_path.iterdir()) == []


def test_the_words_of_an_option() -> None:
    """A negative number is a value; underscores are hyphens; an equals sign separates too."""
    words = ["--a", "-1", "x", "--b_c=3", "--d"]
    assert values_of("--a", words) == ["-1", "x"]
    assert values_of("--b-c", words) == ["3"]
    assert values_of("--d", words) == values_of("--e", words) == []


def test_none_is_a_value_where_there_may_be_none() -> None:
    """The text none elsewhere, such as the name of a file, is unchanged."""
    options = options_of(COMMANDS["train"])
    words = ["none", "--norm", "none", "--max_norm=none", "--target", "none"]
    expected = ["none", "--norm", "None", "--max_norm=None", "--target", "none"]
    assert with_none(words, options) == expected


@pytest.mark.parametrize("name", ["on_parse_error", "BadValue"])
def test_another_tyro_prints_its_own_message(
    name: str,
    run_here: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without the private hook, or a kind of error that it reports."""
    monkeypatch.setattr(_usage, "_HOOK", (f"no_{name}", name))
    assert run_here("train", "--epochs", "x") == 2
    assert capsys.readouterr().err.count("'x'") == 1


def test_a_tyro_without_the_module_of_the_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    """The context does nothing."""
    monkeypatch.setattr(_usage, "_errors", None)
    with _usage.reported_by(_usage.ParseErrors("train", [], [])) as nothing:
        assert nothing is None
