"""All commands of `mlpkit`, and how a command line becomes one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Protocol

import tyro

from mlpkit.cli._completion import Completion
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
    """What a command line becomes."""

    def run(self) -> None:
        """Do it."""
        ...


def parse(arguments: Sequence[str]) -> Command:
    """Return the command that a command line spells; exit with 2 where it spells none.

    Raises:
        ConfigError: If a configuration file that the command line names cannot be used.
    """
    words = list(arguments)
    defaults = train_defaults(words[1:] if words[:1] == ["train"] else ())
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
        | Annotated[Completion, tyro.conf.subcommand("completion")]
    )
    command: Command = tyro.cli(
        commands,
        prog="mlpkit",
        description="Multilayer perceptrons: train them, judge them, use them.",
        args=words,
        compact_help=words[:1] == ["train"],  # the others fit a screen with their descriptions
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes),
    )
    return command
