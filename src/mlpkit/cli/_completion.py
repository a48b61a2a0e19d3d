"""`mlpkit completion`: the script with which a shell completes `mlpkit` command lines."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Callable, Sequence
from typing import Annotated, Literal, get_args

import tyro
from tyro.conf import Positional

from mlpkit.data import DatasetName

__all__ = ["CompletionOptions"]

# tyro completes commands, options and their choices, but no positional arguments. This function
# adds the names of the data sets and the files.
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
class CompletionOptions:
    """The options of `mlpkit completion`."""

    shell: Annotated[Positional[Literal["bash", "zsh"]], tyro.conf.arg(metavar="SHELL")]
    """bash: save as mlpkit in bash-completion/completions; zsh: as _mlpkit in fpath."""

    def script(self, parse: Callable[[Sequence[str]], object]) -> str:
        """Return the completion script of a parser.

        Args:
            parse: Parses a command line with tyro.
        """
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            parse(["--tyro-print-completion", self.shell])
        if self.shell == "bash":
            print(_BASH.format(names=" ".join(get_args(DatasetName))), file=printed)
        return printed.getvalue()
