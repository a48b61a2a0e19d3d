"""The installed command `mlpkit` in a separate process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["command", "run"]

MLPKIT = shutil.which("mlpkit", path=str(Path(sys.executable).parent))


def command(*words: str) -> list[str]:
    """Return the command line of the installed script."""
    assert MLPKIT is not None, "the package is not installed for this Python"
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
