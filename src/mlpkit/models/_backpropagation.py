"""Optional fast path: the passes of a classifier are those of its network, after preprocessing."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from mlpkit._protocols import find_backpropagation, find_stacked_backpropagation
from mlpkit.models._softmax_classifier import SoftmaxClassifier
from mlpkit.nn.backprop import Backpropagation, StackedBackpropagation

__all__: list[str] = []


@find_backpropagation.register
def _(model: SoftmaxClassifier) -> Backpropagation | None:
    if not (_is_plain(model) and Backpropagation.supports(model.network)):
        return None
    return Backpropagation(model.network, wrappers=(model,), preprocess=model.standardize)


@find_stacked_backpropagation.register
def _(
    model: SoftmaxClassifier, stacks: Mapping[nn.Parameter, nn.Parameter], *, shared: bool
) -> StackedBackpropagation | None:
    if not (_is_plain(model) and StackedBackpropagation.supports(model.network, stacks)):
        return None
    return StackedBackpropagation(
        model.network, stacks, shared=shared, preprocess=model.standardize
    )


def _is_plain(model: SoftmaxClassifier) -> bool:
    """Return whether a call of this object does what the class says."""
    return (
        type(model) is SoftmaxClassifier
        and model._compiled_call_impl is None
        and {"forward", "standardize"}.isdisjoint(vars(model))
    )
