"""Invalid command lines: one message for each, with the nearest valid spelling."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from mlpkit._checks import Unquoted, check_choice, error_message, nearest
from mlpkit.cli._help import Option
from mlpkit.errors import ConfigError
from mlpkit.training import OptimizerConfig

if TYPE_CHECKING:
    from tyro import _errors
else:
    try:
        from tyro import _errors
    except ImportError:  # a private module, which another tyro may not have
        _errors = None

__all__ = ["ParseErrors", "check_options", "reported_by", "values_of", "with_none"]

# What is used of the private module; without it an invalid command line has tyro's output.
_HOOK = (
    *("on_parse_error", "ParseErrorEvent", "MissingArgs", "UnrecognizedArgs"),
    *("InstantiationFailure", "BadValue", "InvalidChoice"),
)
_NUMBER = re.compile(r"-[\d.]")
_RULES: Mapping[str, str] = {
    "N": "an integer",
    "N...": "integers",
    "NUMBER": "a number",
    "NUMBER...": "numbers",
    "WEIGHT...": "balanced, one number per class, or CLASS=NUMBER for each",
    "HEIGHT WIDTH": "two integers, height and width",
}
# Other words for settings, which users of other libraries try.
_ALIASES: Mapping[str, str] = {
    "learning-rate": "--optimizer NAME:lr=VALUE",
    "cpu": "--device cpu",
    "gpu": "--device cuda",
    "cuda": "--device cuda",
    "output": "--out PATH",
    "patience": "--early-stopping PATIENCE",
    "layers": "--hidden-features N...",
    "hidden": "--hidden-features N...",
    "no-progress": "--progress off",
    "amp": "--precision bf16",
}


def _is_option(word: str) -> bool:
    """Return whether a word is an option and no value; a negative number is a value."""
    return len(word) > 1 and word[0] == "-" and _NUMBER.match(word) is None and word != "--"


def _spelled(word: str) -> str:
    """Return the name of an option without a value behind it, with hyphens."""
    return word.partition("=")[0].replace("_", "-")


def check_options(command: str, arguments: Sequence[str], options: Sequence[Option]) -> None:
    """Refuse a word that looks like an option and is none of the command.

    Raises:
        ConfigError: If there is one; the message suggests the nearest option.
    """
    names = [option.name for option in options if not option.is_positional]
    aliases = {key: text for key, text in _ALIASES.items() if text.split()[0] in names}
    if "--optimizer" in names:
        for field in dataclasses.fields(OptimizerConfig)[1:]:
            spelled = field.name.replace("_", "-")
            aliases.setdefault(spelled, f"--optimizer NAME:{field.name}=VALUE")
    known = {name for option in options for name in option.spellings}
    meanings = aliases | {name.removeprefix("--"): name for name in names}
    for word in arguments:
        if not _is_option(word) or _spelled(word) in known:
            continue
        bare = _spelled(word).lstrip("-")
        found = bare if bare in meanings else nearest(bare, list(meanings))
        cure = f"see mlpkit {command} --help"
        if found is not None:
            cure = f"did you mean {meanings[found]!r}?"
        shown = word.partition("=")[0]
        raise ConfigError(error_message("OPTION", f"an option of mlpkit {command}", shown, cure))


def values_of(name: str, arguments: Sequence[str]) -> list[str]:
    """Return the words that follow an option, or the one behind its equals sign."""
    for place, word in enumerate(arguments):
        if _is_option(word) and _spelled(word) == name:
            if "=" in word:
                return [word.partition("=")[2]]
            values = []
            for value in arguments[place + 1 :]:
                if _is_option(value):
                    break
                values.append(value)
            return values
    return []


def with_none(arguments: Sequence[str], options: Sequence[Option]) -> list[str]:
    """Return the words with ``none`` as tyro spells it, for options that may have no value."""
    names = {option.name for option in options if option.is_optional and not option.is_positional}
    words = list(arguments)
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if equals and _spelled(name) in names and value == "none":
            words[place] = f"{name}=None"
        elif word == "none" and place and _spelled(words[place - 1]) in names:
            words[place] = "None"
    return words


def reported_by(errors: ParseErrors) -> AbstractContextManager[None]:
    """Return a context in which ``errors`` reports an invalid command line, if tyro can call it."""
    if all(hasattr(_errors, name) for name in _HOOK):
        return _errors.on_parse_error(errors)
    return contextlib.nullcontext()


class ParseErrors:
    """Called by tyro for an invalid command line: raise one message instead of tyro's output.

    Args:
        command: The command, such as ``"data show"``.
        arguments: The words after it.
        options: The options of the command.
    """

    def __init__(self, command: str, arguments: Sequence[str], options: Sequence[Option]) -> None:
        self._command = command
        self._arguments = arguments
        self._options = {option.name: option for option in options}
        self._cure = f"see mlpkit {command} --help"

    def __call__(self, event: _errors.ParseErrorEvent, /) -> None:
        """Raise the message for an error; another kind of error is left to tyro.

        Raises:
            ConfigError: Always, unless the kind is unknown.
        """
        message = self._message(event)
        if message is not None:
            raise ConfigError(message)

    def _message(self, event: _errors.ParseErrorEvent) -> str | None:
        nothing = Unquoted("nothing")
        if isinstance(event, _errors.MissingArgs):
            names = " and ".join(_name(found.arg.lowered) for found in event.missing_arguments)
            return error_message(names, "given", nothing, self._cure)
        if isinstance(event, _errors.UnrecognizedArgs):
            rule = f"those of mlpkit {self._command}"
            return error_message("the arguments", rule, event.tokens[0], self._cure)
        if isinstance(event, _errors.InstantiationFailure) and event.argument is None:
            return event.message
        if isinstance(event, _errors.InstantiationFailure | _errors.BadValue):
            assert event.argument is not None, "shown by the case above"
            option = self._options.get(_name(event.argument.lowered))
            if option is None:
                return None
            values = values_of(option.name, self._arguments)
            message = event.message if isinstance(event, _errors.InstantiationFailure) else None
            return _value_message(option, values, message)
        if isinstance(event, _errors.InvalidChoice):
            choices = [choice for choice in event.choices if choice != "None"]
            try:
                check_choice(_name(event.argument.lowered), event.value, choices)
            except ValueError as error:
                return str(error)
        return None


def _name(lowered: object) -> str:
    """Return the name of an argument as tyro has it: the option, or the positional's metavar."""
    flags: tuple[str, ...] = getattr(lowered, "name_or_flags", ())
    if flags and flags[0].startswith("--"):
        return flags[0]
    return str(getattr(lowered, "metavar", None) or "ARGUMENT")


def _value_message(option: Option, values: Sequence[str], message: str | None) -> str:
    """Return the message for a value of an option that cannot be read.

    Args:
        option: The option.
        values: What the command line has as its value.
        message: That of the exception; None if values are missing.
    """
    found: object = values[0] if len(values) == 1 else Unquoted(" ".join(values) or "nothing")
    rule = _RULES.get(option.metavar)
    if option.choices and rule is None:
        rule = "one of " + ", ".join(map(repr, option.choices))
    if message is None or rule is not None:
        return error_message(option.name, rule or f"followed by {option.metavar}", found)
    if (head := re.match(r"(NAME|DECAY|PATIENCE|FACTOR)(?= must)", message)) is not None:
        return message.replace(head[1], option.name, 1)
    message = message.replace("monitor.", "", 1)
    message = re.sub(r"(?<=one of )[\w, ]+(?=, got)", _quoted, message)
    return re.sub(r"^(\w+)(?= must )", rf"{option.name} NAME:\1", message)


def _quoted(names: re.Match[str]) -> str:
    """Return a list of names in quotes, which mark what is no option of the command."""
    return ", ".join(map(repr, names[0].split(", ")))
