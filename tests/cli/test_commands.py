"""The parser and the help of all commands."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mlpkit.cli._commands import parse
from mlpkit.cli._info import Info


def test_the_help_of_train_has_one_line_per_option(
    run_here: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In a window of 80 columns; two for a long name, or a list of names and a default."""
    monkeypatch.setenv("COLUMNS", "80")
    assert run_here("train", "--help") == 0
    lines = capsys.readouterr().out.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("  --")]
    assert len(starts) > 50
    long = [lines[n] for n in starts if lines[n + 1].startswith(" " * 9)]
    assert len(long) <= 7, long
    assert len(lines) <= 90


@pytest.mark.parametrize(
    ("words", "most"),
    [
        ((), 30),
        (("train",), 88),  # one line per option, in groups
        (("evaluate",), 24),
        (("predict",), 24),
        (("plot",), 24),
        (("report",), 24),
        (("export",), 24),
        (("demo",), 24),
        (("data",), 24),
        (("data", "show"), 24),
        (("data", "info"), 24),
        (("info",), 24),
        (("completion",), 24),
    ],
)
def test_help_fits_a_screen(
    words: tuple[str, ...],
    most: int,
    run_here: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In a window of 100 columns, the help has few lines and describes the arguments."""
    monkeypatch.setenv("COLUMNS", "100")
    assert run_here(*words, "--help") == 0
    lines = capsys.readouterr().out.splitlines()
    assert 5 < len(lines) <= most
    assert max(map(len, lines)) <= 100
    if "MODEL" in lines[0]:
        assert any("Folder of a run (runs/...) or of a model." in line for line in lines)


def test_a_command_line_becomes_its_command() -> None:
    """The first argument selects the command."""
    assert parse(["info"]) == Info()
