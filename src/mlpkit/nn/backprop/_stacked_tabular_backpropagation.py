"""Backpropagation through several networks for tables at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from mlpkit.nn.backprop._stacked_backpropagation import StackedBackpropagation
from mlpkit.nn.backprop._stacked_embedding import StackedEmbedding
from mlpkit.nn.tabular import TabularMLP

__all__ = ["StackedTabularBackpropagation"]


class StackedTabularBackpropagation:
    """Forward and backward pass of K :class:`TabularMLP` in training mode on the CPU.

    Args:
        network: One of the networks, in training mode; the others differ only in the values of
            their parameters.
        stacks: For each parameter of ``network``, the stack of that parameter of all networks.
        shared: Whether all networks have the same input.
        preprocess: Applied to the inputs of every network; it is not differentiated.
        generators: The generator of each network, from which its dropout masks are drawn, or one
            whose masks all networks have.

    Shape:
        - Input: ``(K, N, F)`` after ``preprocess``; ``(N, F)`` if it is shared.
        - Output, and its gradient: ``(K, N, out_features)``.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mlpkit.nn import TabularMLP
        >>> from mlpkit.nn.backprop import StackedTabularBackpropagation
        >>> rows = torch.rand(9, 2)
        >>> models = [TabularMLP.for_data(rows, None, (8,), 3) for _ in range(2)]
        >>> each = zip(*(model.parameters() for model in models), strict=True)
        >>> stacks = {same[0]: nn.Parameter(torch.stack(same).detach()) for same in each}
        >>> passes = StackedTabularBackpropagation(models[0], stacks, shared=True)
        >>> torch.allclose(passes.forward(rows)[1], models[1](rows), atol=1e-6)
        True
    """

    def __init__(
        self,
        network: TabularMLP,
        stacks: Mapping[nn.Parameter, nn.Parameter],
        *,
        shared: bool,
        preprocess: Callable[[Tensor], Tensor] | None = None,
        generators: Sequence[torch.Generator] = (),
    ) -> None:
        self._network = network
        self._preprocess = preprocess
        self._shared = shared
        self._embedding = StackedEmbedding(network.embedding, stacks, shared=shared)
        self._mlp = StackedBackpropagation(
            network.mlp, stacks, shared=False, generators=generators, has_input_gradient=True
        )

    @staticmethod
    def supports(
        network: TabularMLP,
        stacks: Mapping[nn.Parameter, nn.Parameter],
        generators: Sequence[torch.Generator] = (),
    ) -> bool:
        """Return whether networks like this one consist of what this class differentiates."""
        return (
            type(network) is TabularMLP
            and network._compiled_call_impl is None
            and "forward" not in vars(network)
            and StackedEmbedding.supports(network.embedding, stacks)
            and StackedBackpropagation.supports(network.mlp, stacks, generators)
        )

    def can_run(self, inputs: Tensor) -> bool:
        """Return whether the passes compute the same as calling the networks on ``inputs``."""
        return (
            inputs.ndim - (not self._shared) == 2
            and self._network.training
            and self._mlp.is_undisturbed(inputs)
        )

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs of the networks; the next call overwrites them."""
        if self._preprocess is not None:
            each = inputs.unsqueeze(0) if self._shared else inputs
            prepared = [self._preprocess(one) for one in each]
            inputs = prepared[0] if self._shared else torch.stack(prepared)
        return self._mlp.forward_features(self._embedding.forward(inputs))

    @torch.no_grad()
    def backward(self, grad_output: Tensor) -> None:
        """Set ``.grad`` of every stack, given the gradient of the latest outputs."""
        gradient = self._mlp.input_gradient(grad_output)
        assert gradient is not None, "the MLPs were built with has_input_gradient"
        self._embedding.backward(gradient)
