"""The fixture that runs JavaScript of the demo page in Node."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

RunNode = Callable[..., object]


@pytest.fixture(scope="session")
def run_node() -> RunNode:
    """Return a function that runs a script of this folder in Node and returns its JSON output."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node, which runs the JavaScript of the page, is not installed")

    def run(script: str, *arguments: Path) -> object:
        command = [node, str(Path(__file__).with_name(script)), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run
