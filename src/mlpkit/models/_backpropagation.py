"""Optional fast path: the passes of a model are those of its network, after preprocessing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from mlpkit._protocols import (
    BackpropagationLike,
    find_backpropagation,
    find_stacked_backpropagation,
)
from mlpkit.models._multilabel_classifier import MultilabelClassifier
from mlpkit.models._regressor import Regressor
from mlpkit.models._softmax_classifier import SoftmaxClassifier
from mlpkit.models._standardized_model import StandardizedModel
from mlpkit.nn import MLP, TabularMLP
from mlpkit.nn.backprop import (
    Backpropagation,
    StackedBackpropagation,
    StackedTabularBackpropagation,
)

__all__: list[str] = []

_Stacks: TypeAlias = Mapping[nn.Parameter, nn.Parameter]


class _ShapedPasses:
    """The passes of a network whose outputs a model converts to units and shape of its targets.

    The conversion is differentiated by autograd, with a graph of a few operations on the outputs.

    Args:
        passes: The passes of the network.
        model: The model, which has the conversion.
    """

    def __init__(
        self, passes: BackpropagationLike, model: MultilabelClassifier | Regressor
    ) -> None:
        self._passes = passes
        self._model = model
        self._outputs: Tensor | None = None  # of the network, leaf of the graph of the conversion
        self._converted: Tensor | None = None

    def can_run(self, inputs: Tensor) -> bool:
        """Return whether the passes compute the same as the model and autograd."""
        return self._passes.can_run(inputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs of the model, which have no autograd graph."""
        self._outputs = self._passes.forward(inputs).detach().requires_grad_()
        with torch.enable_grad():
            self._converted = self._model._convert_outputs(self._outputs)
        return self._converted.detach()

    def backward(self, grad_output: Tensor) -> None:
        """Set ``.grad`` of every parameter, given the gradient of the latest outputs."""
        assert self._outputs is not None, "forward was called"
        assert self._converted is not None, "forward was called"
        # A gradient of the outputs as an argument of grad would import sympy to compare the shapes.
        with torch.enable_grad():
            total = (self._converted * grad_output).sum()
        (gradient,) = torch.autograd.grad(total, self._outputs)
        self._outputs = self._converted = None
        self._passes.backward(gradient)


def _find(model: StandardizedModel) -> Backpropagation | None:
    """Return the passes of the network of a model; None if they cannot replace autograd."""
    network = model.network
    if not (_is_plain(model) and isinstance(network, MLP) and Backpropagation.supports(network)):
        return None
    return Backpropagation(network, wrappers=(model,), preprocess=model.standardize)


def _find_stacked(
    model: StandardizedModel,
    stacks: _Stacks,
    *,
    shared: bool,
    generators: Sequence[torch.Generator],
) -> StackedBackpropagation | StackedTabularBackpropagation | None:
    """Return the passes of the networks of models like this one, or None."""
    network, preprocess = model.network, model.standardize
    if not _is_plain(model):
        return None
    if isinstance(network, MLP) and StackedBackpropagation.supports(network, stacks, generators):
        return StackedBackpropagation(
            network, stacks, shared=shared, preprocess=preprocess, generators=generators
        )
    if isinstance(network, TabularMLP) and StackedTabularBackpropagation.supports(
        network, stacks, generators
    ):
        return StackedTabularBackpropagation(
            network, stacks, shared=shared, preprocess=preprocess, generators=generators
        )
    return None


@find_backpropagation.register
def _(model: SoftmaxClassifier) -> BackpropagationLike | None:
    return _find(model)


@find_backpropagation.register(MultilabelClassifier)
@find_backpropagation.register(Regressor)
def _(model: MultilabelClassifier | Regressor) -> BackpropagationLike | None:
    return _with_conversion(_find(model), model)


@find_stacked_backpropagation.register
def _(
    model: SoftmaxClassifier,
    stacks: _Stacks,
    *,
    shared: bool,
    generators: Sequence[torch.Generator] = (),
) -> BackpropagationLike | None:
    return _find_stacked(model, stacks, shared=shared, generators=generators)


@find_stacked_backpropagation.register(MultilabelClassifier)
@find_stacked_backpropagation.register(Regressor)
def _(
    model: MultilabelClassifier | Regressor,
    stacks: _Stacks,
    *,
    shared: bool,
    generators: Sequence[torch.Generator] = (),
) -> BackpropagationLike | None:
    passes = _find_stacked(model, stacks, shared=shared, generators=generators)
    return _with_conversion(passes, model)


def _with_conversion(
    passes: BackpropagationLike | None, model: MultilabelClassifier | Regressor
) -> BackpropagationLike | None:
    """Return the passes with the conversion of the outputs, unless it changes nothing."""
    if passes is None or (isinstance(model, MultilabelClassifier) and model.target_shape):
        return passes
    return _ShapedPasses(passes, model)


def _is_plain(model: StandardizedModel) -> bool:
    """Return whether a call of this object does what the class says."""
    return (
        type(model) in (SoftmaxClassifier, MultilabelClassifier, Regressor)
        and model._compiled_call_impl is None
        and {"forward", "standardize", "_convert_outputs"}.isdisjoint(vars(model))
    )
