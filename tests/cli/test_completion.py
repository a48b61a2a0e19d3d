"""Tab completion in bash: commands, options, choices, data sets, files."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

BASH = shutil.which("bash")

ASK = """
source ./completion
COMP_WORDS=("$@")
COMP_CWORD=$(( $# - 1 ))
"$(complete -p mlpkit | sed 's/.*-F \\([^ ]*\\).*/\\1/')"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(BASH is None, reason="bash is not installed")
def test_bash_completes(
    tmp_path: Path, run_here: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Prefixes of each kind of argument are completed."""
    assert run_here("completion", "bash") == 0
    (tmp_path / "completion").write_text(capsys.readouterr().out)
    (tmp_path / "ask").write_text(ASK)
    (tmp_path / "runs" / "a run").mkdir(parents=True)

    def completed(*words: str) -> list[str]:
        assert BASH is not None
        done = subprocess.run(
            [BASH, "ask", "mlpkit", *words], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split("\n")[:-1]

    assert completed("tr") == ["train"]
    assert completed("train", "--hid") == ["--hidden-features"]
    assert completed("train", "--preset", "a") == ["accurate"]
    assert completed("train", "fa") == ["fashion_mnist"]
    assert completed("evaluate", "ru") == ["runs"]
    assert completed("evaluate", "runs/") == ["runs/a run"]
    assert completed("predict", "a.png", "--model", "ru") == ["runs"]
    assert completed("data", "show", "km") == ["kmnist"]


def test_the_script_for_zsh(
    run_here: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """The first line declares the completed command."""
    assert run_here("completion", "zsh") == 0
    assert capsys.readouterr().out.startswith("#compdef mlpkit\n")
