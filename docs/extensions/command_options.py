"""Directives with the commands of mlpkit: their options, defaults and presets, from the parsers.

``{command-options} train`` shows the summary of a command and a table for each group of options.
``{command-presets}`` shows the defaults of ``mlpkit train`` for two data sets. A role
``{option}`mlpkit train --epochs``` links to the row of an option.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from mlpkit import cli
from mlpkit.cli._commands import CHOSEN_OPTIONS, COMMANDS
from mlpkit.cli._config_strings import format_config
from mlpkit.cli._help import CHOSEN, Option, default_of, options_of, summary_of
from mlpkit.cli._options import GROUPS
from mlpkit.cli._presets import PRESETS, Preset, preset
from mlpkit.cli._train import Train
from mlpkit.cli._train_defaults import train_defaults
from mlpkit.data import DatasetName

SOURCES = (Path(__file__), *Path(cli.__file__).parent.glob("*.py"))
PRESET_DATASETS: tuple[DatasetName, ...] = ("digits", "mnist")


def depend_on_sources(env: BuildEnvironment) -> None:
    """Build the page again when a file of the command line changes."""
    for path in SOURCES:
        env.note_dependency(str(path))


def table(
    head: Sequence[str], rows: Sequence[Sequence[Sequence[nodes.Node]]], *, kind: str
) -> nodes.table:
    """Return a table with a class of ``mlpkit.css``; each cell is a list of inline nodes."""
    group = nodes.tgroup(cols=len(head))
    group.extend(nodes.colspec(colwidth=1) for _ in head)
    body = nodes.tbody()
    group += nodes.thead("", row([[nodes.Text(title)] for title in head]))
    group += body
    body.extend(row(cells) for cells in rows)
    return nodes.table("", group, classes=[kind])


def row(cells: Sequence[Sequence[nodes.Node]]) -> nodes.row:
    """Return a row of a table."""
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", *cell)) for cell in cells))


class CommandOptions(SphinxDirective):
    """The summary, the arguments and the options of a command."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Return the nodes."""
        depend_on_sources(self.env)
        name = self.arguments[0]
        command = COMMANDS[name]
        options = options_of(command)
        named = {option.field: option for option in options if not option.is_positional}
        words = [option.name for option in options if option.is_positional]
        if command is not Train:  # whose defaults depend on the data
            words += [f"{o.name} {o.metavar}" for o in named.values() if o.is_required]
        usage = " ".join(["mlpkit", name, *words, *(["[OPTIONS]"] if named else [])])
        found: list[nodes.Node] = [
            nodes.paragraph("", summary_of(command)),
            nodes.literal_block(usage, usage, language="text"),
        ]
        positional = [option for option in options if option.is_positional]
        groups: list[tuple[str, list[Option]]] = [("Arguments", positional)]
        if command is Train:
            groups += [(title, [named.pop(f) for f in fields]) for title, fields in GROUPS.items()]
        groups.append(("Options", list(named.values())))
        for title, members in groups:
            if members:
                rows = [self.option_row(name, command, option) for option in members]
                found += [
                    nodes.rubric("", title),
                    table(("option", "meaning", "default"), rows, kind="options"),
                ]
        return found

    def option_row(
        self, name: str, command: type, option: Option
    ) -> tuple[list[nodes.Node], list[nodes.Node], list[nodes.Node]]:
        """Return the cells of an option, with a target for links."""
        slug = nodes.make_id(f"mlpkit {name} {option.name}")
        target = nodes.target("", "", ids=[slug])
        domain = self.env.get_domain("std")
        for spelling in option.spellings:
            domain.add_program_option(f"mlpkit {name}", spelling, self.env.docname, slug)
        written = f"{option.name} {option.metavar}".rstrip()
        meaning: list[nodes.Node] = [nodes.Text(option.described(None))]
        if option.is_positional and option.choices:
            meaning = [nodes.Text(f"One of {', '.join(option.choices)}.")]
        if len(option.spellings) > 1:
            opposite = next(word for word in option.spellings if word != option.name)
            meaning += [
                nodes.Text(" The opposite is "),
                nodes.literal("", opposite),
                nodes.Text("."),
            ]
        default = default_of(command, self.defaults(command), option) or ""
        if command is Train and option.field in CHOSEN_OPTIONS:
            default = CHOSEN
        shown = nodes.Text(default) if default in ("", CHOSEN) else nodes.literal("", default)
        return [target, nodes.literal("", written)], meaning, [shown]

    def defaults(self, command: type) -> object:
        """Return an instance with the defaults of a command; None for those of its fields."""
        return train_defaults(()) if command is Train else None


class CommandPresets(SphinxDirective):
    """The defaults that the presets of ``mlpkit train`` choose for two data sets."""

    def run(self) -> list[nodes.Node]:
        """Return a table for each preset with a column for each data set."""
        depend_on_sources(self.env)
        options = {option.field: option for option in options_of(Train)}
        found: list[nodes.Node] = []
        for name in PRESETS:
            chosen = [preset(name, dataset) for dataset in PRESET_DATASETS]
            rows = [
                [
                    [nodes.literal("", options[field].name)],
                    *([nodes.literal("", value_of(one, field))] for one in chosen),
                ]
                for field in CHOSEN_OPTIONS
            ]
            title = nodes.rubric("", "", nodes.literal("", f"--preset {name}"))
            found += [title, table(("option", *PRESET_DATASETS), rows, kind="presets")]
        return found


def value_of(one: Preset, field: str) -> str:
    """Return an option of a preset as it is written on the command line."""
    for part in (one, one.network, one.training):
        if hasattr(part, field):
            value: object = getattr(part, field)
            break
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return format_config(value)
    return str(value)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the directives."""
    app.add_directive("command-options", CommandOptions)
    app.add_directive("command-presets", CommandPresets)
    return ExtensionMetadata(parallel_read_safe=True, parallel_write_safe=True)
