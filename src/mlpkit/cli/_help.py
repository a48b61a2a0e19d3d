"""The options of a command as its help shows them, and the help: plain text in groups."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import shutil
import textwrap
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, Union, get_args, get_origin, get_type_hints

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from mlpkit.cli._config_strings import format_config
from mlpkit.cli._options import HIDDEN_OPTIONS, OPTION_TEXTS, OptionText

__all__ = [
    "CHOSEN",
    "HELP_WORDS",
    "Option",
    "command_help",
    "default_of",
    "options_of",
    "overview",
    "summary_of",
]

HELP_WORDS = ("-h", "--help", "-H", "--help-verbose")
CHOSEN = "chosen from the data"
_LEFT = 29  # columns of the options; their texts begin behind them
_WIDEST = 100  # longer lines are hard to read
_LONGEST_CHOICES = 22  # longer lists of choices are part of the text
_METAVARS: Mapping[object, str] = {
    int: "N",
    float: "NUMBER",
    str: "TEXT",
    Path: "PATH",
    tuple[int, ...]: "N...",
    tuple[Path, ...]: "PATH...",
    float | tuple[float, ...]: "NUMBER...",
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """An option or positional argument of a command.

    Attributes:
        field: Name of the field.
        name: What is written: ``--epochs``, or ``MODEL`` for a positional argument.
        metavar: What stands for the value; empty for a flag.
        text: What it means, in one line.
        choices: The values, if they are a few names.
        is_optional: Whether the value may be ``none``.
        unset: What no value means, shown as the default; None shows no default.
        is_required: Whether the field has no default.
    """

    field: str
    name: str
    metavar: str
    text: str
    choices: tuple[str, ...] = ()
    is_optional: bool = False
    unset: str | None = None
    is_required: bool = False

    @property
    def is_positional(self) -> bool:
        """Whether the argument has no name on the command line."""
        return not self.name.startswith("--")

    @property
    def spellings(self) -> tuple[str, ...]:
        """The names on the command line: a flag also has that of its opposite."""
        if self.is_positional or self.metavar:
            return (self.name,)
        bare = self.field.replace("_", "-")
        return (f"--{bare}", f"--no-{bare}")

    def described(self, default: str | None) -> str:
        """Return the text with the default."""
        text = self.text if self.text.endswith("...") else self.text.removesuffix(".")
        if self.choices and self.metavar == "NAME":
            text += f": {', '.join(self.choices)}"
        if default is None:
            return text if text.endswith("...") else f"{text}."
        return f"{text} ({default})" if default == CHOSEN else f"{text} (default: {default})"


def options_of(command: type) -> tuple[Option, ...]:
    """Return the options of a command that are not hidden, in the order of its fields."""
    return tuple(_options(command))


def _options(command: type) -> Iterator[Option]:
    hints = get_type_hints(command, include_extras=True)
    texts = _field_texts(command)
    for field in dataclasses.fields(command):
        kind, *marks = _arguments(hints[field.name])
        metavars = [
            found for mark in marks if (found := getattr(mark, "metavar", None)) is not None
        ]
        if tyro.conf.Suppress in marks or field.name in HIDDEN_OPTIONS:
            continue
        if dataclasses.is_dataclass(kind) and isinstance(kind, type) and not _has_spec(marks):
            yield from _options(kind)
            continue
        text = OPTION_TEXTS.get(field.name) or OptionText(texts.get(field.name, ""))
        members = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
        is_optional = type(None) in members and not _has_spec(marks)
        value = _without_none(kind) if is_optional else kind
        choices = get_args(value) if get_origin(value) is Literal else ()
        metavar = text.metavar or (str(metavars[-1]) if metavars else None)
        if metavar is None and choices:
            joined = "|".join(choices)
            metavar = joined if len(joined) <= _LONGEST_CHOICES else "NAME"
        if metavar is None:
            metavar = "" if value is bool else _METAVARS.get(value, "VALUE")
        is_flag = metavar == ""
        spelled = field.name.replace("_", "-")
        name = f"--no-{spelled}" if is_flag and field.default is True else f"--{spelled}"
        if tyro.conf.Positional in marks:
            name, metavar = metavar, ""
        yield Option(
            field=field.name,
            name=name,
            metavar=metavar,
            text=text.text,
            choices=choices,
            is_optional=is_optional,
            unset=text.unset,
            is_required=field.default is field.default_factory is dataclasses.MISSING,
        )


def _arguments(hint: object) -> tuple[object, ...]:
    """Return the type of an annotation and its metadata."""
    return get_args(hint) if get_origin(hint) is Annotated else (hint,)


def _has_spec(marks: list[object]) -> bool:
    return any(isinstance(mark, PrimitiveConstructorSpec) for mark in marks)


def _without_none(kind: object) -> object:
    """Return a type without None: the only other member, or a union of the others."""
    members = [member for member in get_args(kind) if member is not type(None)]
    return members[0] if len(members) == 1 else Union[tuple(members)]  # noqa: UP007 - at run time


def _field_texts(command: type) -> dict[str, str]:
    """Return the docstrings below the fields of a class and its bases, each on one line."""
    texts: dict[str, str] = {}
    bodies = []
    for kind in reversed(command.__mro__):
        if dataclasses.is_dataclass(kind):
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
            assert isinstance(tree, ast.ClassDef)
            bodies += tree.body
    for field, text in itertools.pairwise(bodies):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            texts[field.target.id] = " ".join(str(text.value.value).split())
    return texts


def overview(prog: str, summary: str, commands: Mapping[str, type]) -> str:
    """Return the help of ``mlpkit`` or of a command with commands: a line for each of them."""
    rows = [(name, summary_of(command)) for name, command in commands.items()]
    lines = [f"usage: {prog} COMMAND ...", "", summary, "", "Commands:", *_table(rows, left=14), ""]
    options = [("--version", "Print the version."), ("--help", "Print this help.")]
    lines += _table(options if prog == "mlpkit" else options[1:], left=14)
    lines += ["", *_wrap(f"{prog} COMMAND --help describes the options of a command.")]
    return "\n".join(lines)


def command_help(
    name: str,
    command: type,
    defaults: object,
    *,
    groups: Mapping[str, tuple[str, ...]],
    chosen: tuple[str, ...] = (),
    epilog: str = "",
) -> str:
    """Return the help of a command.

    Args:
        name: The command, such as ``"data show"``.
        command: Its class.
        defaults: An instance, or None to take the defaults of the fields.
        groups: Titles of groups and the fields in each; other options have the title Options.
        chosen: Names of fields whose default depends on the data, which are unknown.
        epilog: Last line.
    """
    options = options_of(command)
    positional = [option for option in options if option.is_positional]
    named = {option.field: option for option in options if not option.is_positional}
    words = [option.name for option in positional]
    words += [f"{o.name} {o.metavar}" for o in named.values() if o.is_required and defaults is None]
    usage = " ".join(["usage: mlpkit", name, *words])
    lines = [usage + " [OPTIONS]" * bool(named), "", *_wrap(summary_of(command))]

    def rows(listed: list[Option]) -> list[str]:
        table = []
        for option in listed:
            default = CHOSEN
            if option.field not in chosen:
                default = default_of(command, defaults, option) or ""
            left = f"{option.name} {option.metavar}".rstrip()
            table.append((left, option.described(default or None)))
        return _table(table, left=_LEFT)

    if positional:
        lines += ["", "Arguments:", *rows(positional)]
    for title, fields in groups.items():
        lines += ["", f"{title}:", *rows([named.pop(field) for field in fields])]
    lines += ["", "Options:" if not groups else "Help:", *rows(list(named.values()))]
    lines += _table([("--help", "Print this help.")], left=_LEFT)
    return "\n".join([*lines, *([""] * bool(epilog)), *_wrap(epilog)])


def summary_of(command: type) -> str:
    """Return the first line of the docstring of a command."""
    return inspect.cleandoc(command.__doc__ or "").splitlines()[0]


def default_of(command: type, defaults: object, option: Option) -> str | None:
    """Return the default of an option in the words of the command line; None shows none."""
    for kind, instance in _parts(command, defaults):
        for field in dataclasses.fields(kind):
            if field.name == option.field:
                missing = dataclasses.MISSING
                value = field.default if instance is None else getattr(instance, field.name)
                return option.unset if value is missing else _shown(value) or option.unset
    raise AssertionError(f"{option.field} is a field of {command.__name__}")


def _parts(command: type, defaults: object) -> Iterator[tuple[type, object]]:
    """Return a command and the groups of options in it, each with its instance or None."""
    yield command, defaults
    hints = get_type_hints(command)
    for field in dataclasses.fields(command):
        kind = hints[field.name]
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            yield kind, None if defaults is None else getattr(defaults, field.name)


def _shown(value: object) -> str | None:
    """Return a value as it is written on the command line; None for an unset one."""
    if value is None or isinstance(value, bool) or value == ():
        return None
    if isinstance(value, tuple):
        return " ".join(str(_shown(item)) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return format_config(value)
    return str(value)


def _width() -> int:
    """Return the number of columns: those of the terminal, 80 in a pipe."""
    return min(max(shutil.get_terminal_size((80, 24)).columns, 50), _WIDEST)


def _wrap(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        _width(),
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _table(rows: list[tuple[str, str]], *, left: int) -> list[str]:
    """Return rows of two columns; a long first column has a line without the second."""
    lines = []
    for name, text in rows:
        first, *others = _wrap(text, " " * left) or [""]
        if len(name) + 3 <= left:
            lines.append(f"  {name}".ljust(left) + first.lstrip())
        else:
            lines += [f"  {name}", first]
        lines += others
    return lines
