"""Output of the commands: text in any encoding, and error messages in the words of the options."""

from __future__ import annotations

import codecs
import dataclasses
import io
import re
import shlex
import sys
from pathlib import Path

from mlpkit._files import open_descriptor

__all__ = ["accept_any_text", "as_options", "print_path"]

_STDOUT = 1
_HANDLER = "mlpkit.cli"
# The parts of a message that may name an argument. Text in quotes is a value, and is not changed.
_QUOTED = r"""'[^']*'|"[^"]*\""""
_PARTS = re.compile(
    "|".join(
        (
            rf"\b(?P<verb>pass|set|use|with) (?P<argument>\w+)=(?P<value>{_QUOTED}|[\w.]+)",
            r"^(?P<subject>\w+)(?:\[\d+\])?(?=(?:\.\w+)* must be )",
            r"\bif (?P<flag>\w+) is (?P<state>True|False)\b",
            r"(?<=\bfor )(?P<purpose>\w+)(?=, got )",
            _QUOTED,
            # a name with an underscore is no English word, and no part of a path
            r"(?<![\w./\\-])(?P<word>[a-z]+(?:_[a-z]+)+)(?![\w/\\(=-]|\.\w)",
        )
    )
)
_NAMES = ("argument", "subject", "flag", "purpose", "word")
# Advice that only Python can follow.
_CALL = re.compile(r"(?:,? or|;) (?:pass [\w.]+\([^;]*\)|add the metric to metrics)$")
_OBJECT = re.compile(r", got \W*[A-Z]\w+(?:Config|Options)\([^;]*")  # a value in Python's notation
_ONE = re.compile(r", got \(('[^']*'),\)")  # the value of an option that may be repeated
_CLASS = re.compile(r"\bmust be (?:an? )?[A-Z]\w*(?:Config|Schedule|Stopping)(?: or None)?, got")
_COLUMN = re.compile(r"\bcolumn '([^']+)' must ")
_KEY = re.compile(r"^a key of (\w+)")
# Tables of a configuration file, and words that no option of `mlpkit train` explains.
_TABLES = {
    "NetworkOptions": "[network]",
    "TrainingOptions": "[training]",
    "ConfigFile": "the options",
    "FileSource": "[data]",
}
_OTHERS = {
    "ActivationConfig": "activation",
    "dataset": "DATASET",
    "frame": "FILE.csv",
    "root": "--root",
    "run": "RUN",
}


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
    message = _OBJECT.sub("", _CALL.sub("", message)).replace("leave it None", "leave it out")
    message = _ONE.sub(r", got \1", message)
    message = _CLASS.sub("must be a table of options, got", message)
    column = _COLUMN.search(message)
    if column is not None:
        cure = f"drop it or pass --ignore {shlex.quote(column[1])}"
        message = message.replace("drop or ignore it", cure)
    if _KEY.match(message):  # of a configuration file, whose keys are spelled as in Python
        return _as_keys(message)
    return _PARTS.sub(_as_option, message)


def _as_keys(message: str) -> str:
    """Return a message about a wrong key with the tables and the keys of the file."""
    from mlpkit.cli._options import HIDDEN_OPTIONS

    for hidden in HIDDEN_OPTIONS:
        message = message.replace(f" {hidden},", "", 1)
    return _KEY.sub(lambda match: f"a key of {_TABLES.get(match[1], match[1])}", message)


def _as_option(match: re.Match[str]) -> str:
    """Return a part of a message with the spelling of the command line."""
    part = match.groupdict()
    name = next((part[kind] for kind in _NAMES if part[kind] is not None), None)
    option = None if name is None else _option_of(name)
    if option is None:
        return match[0]
    if part["flag"] is not None:
        given = (part["state"] == "True") is not option.startswith("--no-")
        return f"if {option} is {'given' if given else 'left out'}"
    if part["argument"] is None:
        return option
    value = part["value"].strip("'\"")
    if " " in option:  # an option of the optimizer
        return f"{part['verb']} {option}={value.lower()}"
    if value in ("True", "False"):
        given = (value == "True") is not option.startswith("--no-")
        return f"{part['verb']} {option}" if given else f"leave out {option}"
    return f"{part['verb']} {option} {value}"


def _option_of(name: str) -> str | None:
    """Return the option with the meaning of a Python argument, None if there is none.

    An option of the optimizer is part of ``--optimizer``, which is written NAME:OPTION=VALUE.
    """
    # imported with the first error: it imports torch, and Ctrl-C must end the command before
    from mlpkit.cli._options import HIDDEN_OPTIONS, DataOptions, NetworkOptions, TrainingOptions
    from mlpkit.training import OptimizerConfig

    classes = (NetworkOptions, TrainingOptions, DataOptions)
    fields = [field for each in classes for field in dataclasses.fields(each)]
    defaults = {field.name: field.default for field in fields if field.name not in HIDDEN_OPTIONS}
    if name in defaults:
        spelled = name.replace("_", "-")
        return f"--no-{spelled}" if defaults[name] is True else f"--{spelled}"
    if name in {field.name for field in dataclasses.fields(OptimizerConfig)} - {"name"}:
        return f"--optimizer NAME:{name}"
    return _OTHERS.get(name)
