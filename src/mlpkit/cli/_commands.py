"""All commands of `mlpkit`, and the parser that turns a command line into one of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Protocol

import tyro

from mlpkit.cli._completion import CompletionOptions
from mlpkit.cli._data import Data
from mlpkit.cli._demo import Demo
from mlpkit.cli._evaluate import Evaluate
from mlpkit.cli._export import Export
from mlpkit.cli._info import Info
from mlpkit.cli._plot import Plot
from mlpkit.cli._predict import Predict
from mlpkit.cli._report import Report
from mlpkit.cli._train import Train
from mlpkit.cli._train_defaults import train_defaults

__all__ = ["Command", "parse"]


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


def parse(arguments: Sequence[str]) -> Command:
    """Parse a command line; exit with code 2 if it is invalid.

    Raises:
        ConfigError: If a configuration file that the command line names is invalid.
    """
    args = list(arguments)
    defaults = train_defaults(args[1:] if args[:1] == ["train"] else ())
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
        description="Train, evaluate and use multilayer perceptrons.",
        args=args,
        compact_help=args[:1] == ["train"],  # full descriptions of its options need two screens
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes),
    )
    return command
