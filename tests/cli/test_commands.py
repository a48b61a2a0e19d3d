"""The commands as a whole: what they are, and that their help can be read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mlpkit.cli._commands import parse
from mlpkit.cli._info import Info


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("train",),
        ("data",),
        ("data", "show"),
        ("info",),
        ("evaluate",),
        ("predict",),
        ("export",),
        ("demo",),
    ],
)
def test_help_fits_a_screen(
    words: tuple[str, ...], run_here: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Help has at most 50 lines."""
    assert run_here(*words, "--help") == 0
    lines = capsys.readouterr().out.splitlines()
    assert 5 < len(lines) <= 50


def test_a_command_line_becomes_its_command() -> None:
    """The first word chooses."""
    assert parse(["info"]) == Info()
