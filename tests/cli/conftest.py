"""A command line run in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mlpkit.cli import _main as main


@pytest.fixture
def run_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run words after `mlpkit` in the test's folder, without a network, and return the exit code.

    Much faster than another process, which would import torch again.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("MLPKIT_OFFLINE", "1")

    def run(*words: str) -> int:
        try:
            return main.run(words)
        except SystemExit as end:  # tyro's way out
            return int(end.code or 0)

    return run
