"""Summary, the table of the layers of an MLP."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from torch import nn

from mlpkit import _html
from mlpkit.nn._hidden_layer import HiddenLayers, linear_repr
from mlpkit.nn.activations import expansion

__all__ = ["Summary", "SummaryRow", "summarize", "table"]

_HEAD = ("layer", "operations", "output", "parameters")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SummaryRow:
    """One layer of a network.

    Attributes:
        name: Name of the module, as in the keys of ``state_dict``.
        operations: The operations, first to last.
        output_features: Number of output features.
        num_parameters: Number of learnable parameters.
    """

    name: str
    operations: str
    output_features: int
    num_parameters: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """The layers of a network with one row for each; ``str`` and notebooks show a table.

    Attributes:
        rows: The hidden layers, first to last, then the head.
    """

    rows: tuple[SummaryRow, ...]

    @property
    def num_parameters(self) -> int:
        """Number of learnable parameters of all layers."""
        return sum(row.num_parameters for row in self.rows)

    def __str__(self) -> str:
        return table([_HEAD, *self._cells()], left=2)

    def _repr_html_(self) -> str:
        return _html.table(_HEAD, self._cells(), left=2)

    def _cells(self) -> list[tuple[str, ...]]:
        """Return the text of each row, with the total at the end."""
        rows = [
            (row.name, row.operations, f"{row.output_features:,}", f"{row.num_parameters:,}")
            for row in self.rows
        ]
        return [*rows, ("total", "", "", f"{self.num_parameters:,}")]


def table(lines: Sequence[tuple[str, ...]], *, left: int) -> str:
    """Return the lines with aligned columns, of which the first ``left`` are left-aligned."""
    sizes = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(size) if column < left else cell.rjust(size)
            for column, (cell, size) in enumerate(zip(line, sizes, strict=True))
        ).rstrip()
        for line in lines
    )


def summarize(
    layers: HiddenLayers,
    head: nn.Linear | None,
    output_activation: nn.Module | None,
    *,
    head_dropout: float,
) -> Summary:
    """Return the summary: one row for each hidden layer, and one for the head if there is one."""
    rows = [
        SummaryRow(
            name=f"layers.{index}",
            operations=repr(layer),
            output_features=layer.out_features,
            num_parameters=_count(layer),
        )
        for index, layer in enumerate(layers)
    ]
    if head is not None:
        last = [] if output_activation is None else [output_activation]
        steps = [f"Dropout({head_dropout:g})"] if head_dropout > 0 else []
        steps.append(linear_repr(head))
        steps += [" ".join(repr(module).split()) for module in last]
        pieces = 1 if output_activation is None else expansion(output_activation)
        rows.append(
            SummaryRow(
                name="head",
                operations=" -> ".join(steps),
                output_features=head.out_features // pieces,
                num_parameters=_count(head) + sum(map(_count, last)),
            )
        )
    return Summary(rows=tuple(rows))


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
