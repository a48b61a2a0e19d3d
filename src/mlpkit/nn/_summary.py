"""A readable table of the layers of an MLP."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from torch import nn

from mlpkit.nn._hidden_layer import HiddenLayers, linear_repr
from mlpkit.nn.activations import expansion

__all__ = ["Summary", "SummaryRow", "summarize", "table"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SummaryRow:
    """One layer of a network.

    Attributes:
        name: Where it stands in the network, as in the keys of ``state_dict``.
        operations: What it does to its input, in order.
        output_features: Features that leave it.
        num_parameters: Its learnable parameters.
    """

    name: str
    operations: str
    output_features: int
    num_parameters: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """The layers of a network, one row for each; ``str`` makes a table of it.

    Attributes:
        rows: The layers in order.
    """

    rows: tuple[SummaryRow, ...]

    @property
    def num_parameters(self) -> int:
        """Learnable parameters of all rows."""
        return sum(row.num_parameters for row in self.rows)

    def __str__(self) -> str:
        rows = [
            (row.name, row.operations, f"{row.output_features:,}", f"{row.num_parameters:,}")
            for row in self.rows
        ]
        head = ("layer", "operations", "output", "parameters")
        return table([head, *rows, ("total", "", "", f"{self.num_parameters:,}")], left=2)


def table(lines: Sequence[tuple[str, ...]], *, left: int) -> str:
    """Return the lines in columns: the first ``left`` flush left, the others flush right."""
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
    """Return one row for each hidden layer, and one for the head."""
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
