"""The help of all commands: every option, in plain text, within the width of the terminal."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlpkit.cli._commands import COMMANDS
from mlpkit.cli._help import options_of
from mlpkit.cli._options import (
    GROUPS,
    HIDDEN_OPTIONS,
    OPTION_TEXTS,
    DataOptions,
    NetworkOptions,
    TrainingOptions,
)
from mlpkit.cli._train import Train
from mlpkit.nn import MLPConfig
from mlpkit.training import TrainerConfig


@pytest.mark.parametrize("columns", [60, 80, 100])
@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_the_help_is_plain_text(
    name: str,
    columns: int,
    run_here: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No reST, no Python, no boxes, no long lines, and a text for each option."""
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run_here(*name.split(), "--help") == 0
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert not re.search(r"``|:\w+:`|\{|\bNone\b|\bTrue\b|\bFalse\b", printed)
    assert max(map(len, printed.splitlines())) <= columns
    assert printed.startswith(f"usage: mlpkit {name}")
    for option in options_of(COMMANDS[name]) if name and name != "data" else ():
        assert len(option.text) > 5, option.name
        shown = re.escape(f"{option.name} {option.metavar}".rstrip())
        assert re.search(rf"^  {shown}( |$)", printed, re.MULTILINE), option.name
        if not option.is_positional:
            assert option.metavar == "" or re.search(r"[A-Z]|\|", option.metavar)


def test_the_reference_has_each_command() -> None:
    """Its page has a directive for each command, which reads the options from the parser."""
    page = Path(__file__).parents[2] / "docs" / "reference" / "command-line.md"
    found = re.findall(r"^```\{command-options\} (.+)$", page.read_text("utf-8"), re.MULTILINE)
    assert sorted(found) == sorted(COMMANDS.keys() - {"data"})


def test_the_width_in_a_pipe_is_80_columns(
    run_here: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("COLUMNS")
    assert run_here("train", "--help") == 0
    assert 70 < max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_every_field_of_a_configuration_is_described_or_hidden() -> None:
    """A new field needs a text and a group, or a place in HIDDEN_OPTIONS."""
    fields = {field.name for kind in (MLPConfig, TrainerConfig) for field in _fields(kind)}
    neither = fields - set(OPTION_TEXTS) - set(HIDDEN_OPTIONS)
    assert not neither, f"{sorted(neither)}: add to OPTION_TEXTS and GROUPS, or to HIDDEN_OPTIONS"
    assert not set(OPTION_TEXTS) - fields, "a text for no field"
    grouped = [name for group in GROUPS.values() for name in group]
    shown = {option.field for option in options_of(Train) if not option.is_positional}
    assert set(grouped) == shown
    assert len(grouped) == len(shown)
    hidden = set(HIDDEN_OPTIONS) | {"sha256"}
    declared = (NetworkOptions, TrainingOptions, DataOptions)
    assert {field.name for kind in declared for field in _fields(kind)} - shown == hidden


def _fields(kind: type) -> Iterator[dataclasses.Field[object]]:
    yield from dataclasses.fields(kind)


def test_defaults_are_those_of_the_data(
    run_here: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a data set they are chosen from it; a wrong path does not hide the help."""
    for words, expected in (
        ((), "Passes over the examples (chosen from the data)"),
        (("mnist",), "Passes over the examples (default: 10)"),
        (("mnist", "--epochs", "3"), "(default: 3)"),
        (("none.csv",), "(chosen from the data)"),
    ):
        assert run_here("train", *words, "--help") == 0
        assert expected in " ".join(capsys.readouterr().out.split())
    assert run_here("plot", "--help") == 0
    assert "--format png|svg|pdf" in capsys.readouterr().out


def test_the_usage_has_the_required_options(
    run_here: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """And a list of names that is not complete keeps its three points."""
    assert run_here("predict", "--help") == 0
    assert capsys.readouterr().out.startswith(
        "usage: mlpkit predict FILE... --model PATH [OPTIONS]"
    )
    assert run_here("data", "info", "--help") == 0
    assert "qmnist, emnist_letters...\n" in capsys.readouterr().out
