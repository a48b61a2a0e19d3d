"""Output of the commands: text in any encoding, and error messages in the words of the options."""

from __future__ import annotations

import codecs
import dataclasses
import io
import re
import sys
from pathlib import Path

from mlpkit._files import open_descriptor

__all__ = ["accept_any_text", "as_options", "print_path"]

_STDOUT = 1
_HANDLER = "mlpkit.cli"
_ARGUMENT = re.compile(r"""\b(pass|set|use|with) (\w+)=("[^"]*"|'[^']*'|[\w.]+)""")


def accept_any_text() -> None:
    """Make standard output write bytes of paths unchanged, and escape other characters."""
    codecs.register_error(_HANDLER, _encode_anyway)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=_HANDLER)


def _encode_anyway(error: UnicodeError) -> tuple[str | bytes, int]:
    """Encode one character: the byte for which it stands in a path, else an escape sequence."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    one = UnicodeEncodeError(
        error.encoding, error.object, error.start, error.start + 1, error.reason
    )
    try:
        return codecs.lookup_error("surrogateescape")(one)
    except UnicodeEncodeError:
        return codecs.backslashreplace_errors(one)


def print_path(path: Path) -> None:
    """Print the path of a file that was written, unless the file is standard output itself."""
    if open_descriptor(path) != _STDOUT:
        print(path)


def as_options(message: str) -> str:
    """Return an error message that names options of the command line, not Python arguments."""
    return _ARGUMENT.sub(_as_option, message)


def _as_option(match: re.Match[str]) -> str:
    # imported with the first error: it imports torch, and Ctrl-C must end the command before
    from mlpkit.cli._options import HIDDEN_NETWORK_OPTIONS, NetworkOptions, TrainingOptions

    verb, name, value = match.groups()
    fields = dataclasses.fields(NetworkOptions) + dataclasses.fields(TrainingOptions)
    if name not in {field.name for field in fields} - {*HIDDEN_NETWORK_OPTIONS}:
        return match[0]
    option = f"--{name.replace('_', '-')}"
    if value == "False":
        return f"leave out {option}"
    return f"{verb} {option}" + ("" if value == "True" else f" {value.strip(chr(34) + chr(39))}")
