"""Optional fast path: gradients of an MLP without autograd's graph.

Importing this package registers the implementations for :class:`mlpkit.nn.MLP` and
:class:`mlpkit.nn.TabularMLP` in :mod:`mlpkit._protocols`, where :mod:`mlpkit.training` finds them.
The networks do not depend on this package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from mlpkit._protocols import find_backpropagation, find_stacked_backpropagation
from mlpkit.nn._mlp import MLP
from mlpkit.nn.backprop._backpropagation import Backpropagation
from mlpkit.nn.backprop._stacked_backpropagation import StackedBackpropagation
from mlpkit.nn.backprop._stacked_tabular_backpropagation import StackedTabularBackpropagation
from mlpkit.nn.tabular import TabularMLP

__all__ = ["Backpropagation", "StackedBackpropagation", "StackedTabularBackpropagation"]


@find_backpropagation.register
def _(model: MLP) -> Backpropagation | None:
    return Backpropagation(model) if Backpropagation.supports(model) else None


@find_stacked_backpropagation.register
def _(
    model: MLP,
    stacks: Mapping[nn.Parameter, nn.Parameter],
    *,
    shared: bool,
    generators: Sequence[torch.Generator] = (),
) -> StackedBackpropagation | None:
    if not StackedBackpropagation.supports(model, stacks, generators):
        return None
    return StackedBackpropagation(model, stacks, shared=shared, generators=generators)


@find_stacked_backpropagation.register
def _(
    model: TabularMLP,
    stacks: Mapping[nn.Parameter, nn.Parameter],
    *,
    shared: bool,
    generators: Sequence[torch.Generator] = (),
) -> StackedTabularBackpropagation | None:
    if not StackedTabularBackpropagation.supports(model, stacks, generators):
        return None
    return StackedTabularBackpropagation(model, stacks, shared=shared, generators=generators)
