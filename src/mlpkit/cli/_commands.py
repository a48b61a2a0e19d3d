"""All commands of `mlpkit`, and the parser that turns a command line into one of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Final, Protocol

import tyro

from mlpkit._checks import Unquoted, check_choice, error_message
from mlpkit.cli._completion import CompletionOptions
from mlpkit.cli._data import Data, DataInfo, DataShow
from mlpkit.cli._demo import Demo
from mlpkit.cli._evaluate import Evaluate
from mlpkit.cli._export import Export
from mlpkit.cli._help import HELP_WORDS, command_help, options_of, overview
from mlpkit.cli._info import Info
from mlpkit.cli._options import GROUPS
from mlpkit.cli._plot import Plot
from mlpkit.cli._predict import Predict
from mlpkit.cli._report import Report
from mlpkit.cli._train import Train
from mlpkit.cli._train_defaults import train_defaults
from mlpkit.cli._usage import ParseErrors, check_options, reported_by, with_none
from mlpkit.errors import ConfigError, MlpkitError

__all__ = ["CHOSEN_OPTIONS", "COMMANDS", "Command", "parse"]

_SUMMARY = "Train, evaluate and use multilayer perceptrons."
_COMPLETION = ("--tyro-print-completion", "--tyro-write-completion")
#: Options of `mlpkit train` whose defaults a preset chooses for the data.
CHOSEN_OPTIONS = (
    *("hidden_features", "epochs", "batch_size", "optimizer", "schedule", "label_smoothing"),
    *("dropout", "input_dropout", "pool"),
)


class Command(Protocol):
    """A parsed command line."""

    def run(self) -> None:
        """Run the command."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Completion(CompletionOptions):
    """Print the script with which a shell completes commands, options, data sets and files."""

    def run(self) -> None:
        """Print the script."""
        print(self.script(parse))


#: The commands with their options, and the two commands below `mlpkit data`.
COMMANDS: Final[Mapping[str, type]] = MappingProxyType(
    {
        "train": Train,
        "evaluate": Evaluate,
        "predict": Predict,
        "plot": Plot,
        "report": Report,
        "export": Export,
        "demo": Demo,
        "data": Data,
        "data info": DataInfo,
        "data show": DataShow,
        "info": Info,
        "completion": _Completion,
    }
)


def parse(arguments: Sequence[str]) -> Command:
    """Parse a command line; print the help and exit if it asks for help.

    Raises:
        ConfigError: If it is invalid, or a configuration file that it names.
        ValueError: If a value is out of range.
    """
    args = list(arguments)
    if args[:1] and args[0] in _COMPLETION:
        return _parse(args, train_defaults(()))
    if args[:1] and args[0] in HELP_WORDS:
        print(overview("mlpkit", _SUMMARY, _below("")))
        raise SystemExit(0)
    name, rest = _command(args)
    options = options_of(COMMANDS[name]) if name != "data" else ()
    if any(word in HELP_WORDS for word in rest):
        print(_help(name, rest))
        raise SystemExit(0)
    check_options(name, rest, options)
    rest = with_none(rest, options)
    with reported_by(ParseErrors(name, rest, options)):
        defaults = train_defaults(rest if name == "train" else ())
        return _parse([*name.split(), *rest], defaults)


def _below(name: str) -> dict[str, type]:
    """Return the commands below a command, without its name; those of mlpkit for no name."""
    return {
        key.split()[-1]: kind for key, kind in COMMANDS.items() if key.rpartition(" ")[0] == name
    }


def _command(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Return the command of a command line and the words after it.

    Raises:
        ConfigError: If it names none.
    """
    name = ""
    words = list(arguments)
    while name not in COMMANDS or name == "data":
        names = list(_below(name))
        if words[:1] and words[0] in HELP_WORDS:
            break
        prog = f"mlpkit {name}".rstrip()
        if not words:
            rule = "one of " + ", ".join(map(repr, names))
            cure = f"see {prog} --help"
            raise ConfigError(error_message("COMMAND", rule, Unquoted("nothing"), cure))
        if words[0].startswith("-"):
            check_choice("OPTION", words[0], ["--help", "--version"])
        check_choice("COMMAND", words[0], names)
        name = f"{name} {words.pop(0)}".lstrip()
    return name, words


def _help(name: str, arguments: Sequence[str]) -> str:
    """Return the help of a command."""
    command = COMMANDS[name]
    if command is Data:
        return overview("mlpkit data", "Show facts about a data set, or its images.", _below(name))
    if command is not Train:
        return command_help(name, command, None, groups={})
    words = [word for word in arguments if word not in HELP_WORDS]
    try:
        defaults = train_defaults(words)
    except (MlpkitError, OSError, TypeError, ValueError):  # a wrong path is no reason for no help
        words, defaults = [], train_defaults(())
    last = "NAME[:...] is NAME or NAME:OPTION=VALUE,..., for instance sgd:lr=0.1,momentum=0.9."
    if not words:
        last += " mlpkit train DATASET --help shows the defaults for a data set or file."
    chosen = () if words else CHOSEN_OPTIONS
    return command_help(name, command, defaults, groups=GROUPS, chosen=chosen, epilog=last)


def _parse(args: Sequence[str], defaults: Train) -> Command:
    """Parse the words of a command line with tyro."""
    commands = (
        Annotated[Train, tyro.conf.subcommand("train", default=defaults)]
        | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
        | Annotated[Predict, tyro.conf.subcommand("predict")]
        | Annotated[Plot, tyro.conf.subcommand("plot")]
        | Annotated[Report, tyro.conf.subcommand("report")]
        | Annotated[Export, tyro.conf.subcommand("export")]
        | Annotated[Demo, tyro.conf.subcommand("demo")]
        | Annotated[Data, tyro.conf.subcommand("data")]
        | Annotated[Info, tyro.conf.subcommand("info")]
        | Annotated[_Completion, tyro.conf.subcommand("completion")]
    )
    command: Command = tyro.cli(
        commands,
        prog="mlpkit",
        description=_SUMMARY,
        args=args,
        add_help=False,
        config=(tyro.conf.OmitSubcommandPrefixes,),
    )
    return command
