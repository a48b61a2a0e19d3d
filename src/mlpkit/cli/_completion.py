"""`mlpkit completion`: a script that lets a shell complete the words of the command line."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from typing import Annotated, Literal, get_args

import tyro
from tyro.conf import Positional

from mlpkit.data import DatasetName

__all__ = ["Completion"]

# tyro completes commands, options and their choices; what stands alone is left to us.
_BASH = """
_mlpkit() {{
  _tyro_mlpkit
  local current="${{COMP_WORDS[COMP_CWORD]}}" names=""
  if [[ -z "${{COMPREPLY[*]}}" && $current != -* ]]; then
    case "${{COMP_WORDS[1]}}" in train|evaluate|data) names="{names}" ;; esac
    mapfile -t COMPREPLY < <(compgen -W "$names" -- "$current"; compgen -f -- "$current")
    compopt -o filenames 2>/dev/null
  fi
}}
complete -F _mlpkit mlpkit
"""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """Print the script by which a shell completes commands, options, data sets and files."""

    shell: Annotated[Positional[Literal["bash", "zsh"]], tyro.conf.arg(metavar="SHELL")]
    """bash: put it into ~/.local/share/bash-completion/completions/mlpkit; zsh: into a file
    _mlpkit of a folder of fpath."""

    def run(self) -> None:
        """Print tyro's script, and what it needs for data sets and files."""
        from mlpkit.cli._commands import parse

        script = io.StringIO()
        with contextlib.redirect_stdout(script), contextlib.suppress(SystemExit):
            parse(["--tyro-print-completion", self.shell])
        print(script.getvalue())
        if self.shell == "bash":
            print(_BASH.format(names=" ".join(get_args(DatasetName))))
