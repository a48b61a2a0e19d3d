"""What the tests of the page share: Node, a browser, and small classifiers of pictures."""

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
    """Run a script of this folder in Node, and return the JSON that it prints."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node, which runs the page's JavaScript here, is not installed")

    def run(script: str, *arguments: Path) -> object:
        command = [node, str(Path(__file__).with_name(script)), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run
