"""Tab completion in a real bash: commands, options, choices, data sets, files."""

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


@pytest.mark.skipif(BASH is None, reason="there is no bash")
def test_bash_completes(
    tmp_path: Path, run_here: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each word as a person would begin it."""
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


def test_zsh_gets_a_script(
    run_here: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """The first line says to zsh whose words they are."""
    assert run_here("completion", "zsh") == 0
    assert capsys.readouterr().out.startswith("#compdef mlpkit\n")
