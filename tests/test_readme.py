"""The README is true: its Python runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=[block.splitlines()[0] for block in BLOCKS])
def test_python_blocks_run(
    block: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each block runs in an empty folder; what looks like an accuracy is a good one."""
    monkeypatch.chdir(tmp_path)
    exec(compile(block, str(README), "exec"), {"__name__": "__main__"})  # noqa: S102 - our README
    printed = capsys.readouterr().out
    accuracies = [float(number) for number in re.findall(r"^0\.\d+$", printed, re.MULTILINE)]
    assert all(accuracy > 0.95 for accuracy in accuracies)
    assert printed


def test_there_are_two_set_up_commands() -> None:
    """One that trains without a download, one that passes the tests, before anything else."""
    text = README.read_text("utf-8")
    consoles = re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert consoles[:2] == ["$ pip install . && mlpkit train\n", "$ pip install nox uv && nox\n"]
