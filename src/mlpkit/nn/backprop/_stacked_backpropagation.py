"""Backpropagation through several MLPs of the same architecture at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from mlpkit.nn._mlp import MLP
from mlpkit.nn.activations import is_known
from mlpkit.nn.backprop._backpropagation import Backpropagation, global_hooks
from mlpkit.nn.backprop._layer_passes import LayerPasses, ProductsOf
from mlpkit.nn.backprop._stacked_passes import StackedDropout, activation_pass
from mlpkit.nn.backprop._stacked_products import StackedProducts

__all__ = ["StackedBackpropagation"]


class StackedBackpropagation:
    r"""Forward and backward pass of K MLPs in training mode on the CPU, without autograd's graph.

    It computes what :class:`Backpropagation` computes for each network. The weights of layer l of
    all networks are one stack :math:`W^{(l)} \in \mathbb{R}^{K \times H \times D}`.

    Args:
        network: One of the networks, in training mode; the others differ only in the values of
            their parameters.
        stacks: For each parameter of ``network``, the stack of that parameter of all networks.
        shared: Whether all networks have the same input.
        preprocess: Applied to the inputs of every network; it is not differentiated.
        generators: The generator of each network, from which its dropout masks are drawn, or one
            whose masks all networks have.
        has_input_gradient: Whether :meth:`input_gradient` returns the gradient of the inputs.

    Shape:
        - Input: ``(K, N, in_features)`` after ``preprocess`` and flattening; ``(N, in_features)``
          if it is shared.
        - Output, and its gradient: ``(K, N, out_features)``.

    Raises:
        ValueError: In ``forward``, if the inputs do not have ``in_features`` features.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mlpkit.nn import MLP
        >>> from mlpkit.nn.backprop import StackedBackpropagation
        >>> models = [MLP(4, (8,), 3), MLP(4, (8,), 3)]
        >>> each = zip(*(model.parameters() for model in models), strict=True)
        >>> stacks = {same[0]: nn.Parameter(torch.stack(same).detach()) for same in each}
        >>> passes = StackedBackpropagation(models[0], stacks, shared=True)
        >>> inputs = torch.ones(2, 4)
        >>> torch.allclose(passes.forward(inputs)[1], models[1](inputs), atol=1e-6)
        True
        >>> passes.backward(torch.ones(2, 2, 3))  # the gradient of the sum of all logits
        >>> stacks[models[0].head.bias].grad
        tensor([[2., 2., 2.],
                [2., 2., 2.]])
    """

    def __init__(
        self,
        network: MLP,
        stacks: Mapping[nn.Parameter, nn.Parameter],
        *,
        shared: bool,
        preprocess: Callable[[Tensor], Tensor] | None = None,
        generators: Sequence[torch.Generator] = (),
        has_input_gradient: bool = False,
    ) -> None:
        self._network = network
        self._preprocess = preprocess
        self._shared = shared
        self._dtype = next(iter(stacks.values())).dtype
        self._inputs = torch.empty(0)  # preprocessed, (K, N, D); a reused buffer
        # Masks of each network make the inputs of the first layer different.
        first = network.layers[0].dropout if len(network.layers) else network.head_dropout
        self._shares_first_input = shared and (not first.p or len(generators) == 1)
        self._passes = LayerPasses(
            network,
            self._products_of(stacks),
            dropout_of=lambda dropout, _: StackedDropout(dropout.p, generators),
            activation_of=activation_pass,
            has_input_gradient=has_input_gradient,
        )

    def _products_of(self, stacks: Mapping[nn.Parameter, nn.Parameter]) -> ProductsOf:
        def products_of(linear: nn.Linear, inner: bool) -> StackedProducts:  # noqa: FBT001 - positional by its type
            named = {name: stacks[parameter] for name, parameter in linear.named_parameters()}
            shared = self._shares_first_input and not inner
            return StackedProducts(**named, shared=shared, has_input_gradient=inner)

        return products_of

    @staticmethod
    def supports(
        network: MLP,
        stacks: Mapping[nn.Parameter, nn.Parameter],
        generators: Sequence[torch.Generator] = (),
    ) -> bool:
        """Return whether networks like this one consist of what this class differentiates.

        Norms and activations with parameters are not supported: they differ per network. Neither is
        dropout without generators.
        """
        if not Backpropagation.supports(network):
            return False
        dropouts = [network.head_dropout, *(layer.dropout for layer in network.layers)]
        activations = [activation for _, activation in network.named_activations()]
        return (
            all(parameter in stacks for parameter in network.parameters())
            and all(parameter.device.type == "cpu" for parameter in network.parameters())
            and (bool(generators) or not any(dropout.p for dropout in dropouts))
            and all(layer.norm is None for layer in network.layers)
            and all(map(_is_stackable, activations))
        )

    def can_run(self, inputs: Tensor) -> bool:
        """Return whether the passes compute the same as calling the networks on ``inputs``.

        The caller must know that no network has a hook, a frozen parameter or a replaced module.
        """
        network = self._network
        axes = inputs.ndim - (not self._shared)
        is_flat = self._preprocess is not None or network.flatten or axes == 2
        return (
            axes > 1
            and is_flat
            and (self._preprocess is not None or inputs.dtype is self._dtype)
            and network.training
            and self.is_undisturbed(inputs)
        )

    @staticmethod
    def is_undisturbed(inputs: Tensor) -> bool:
        """Return whether no global state, and no gradient of the inputs, requires autograd."""
        return (
            inputs.device.type == "cpu"
            and not inputs.requires_grad
            and not any(global_hooks())
            and not torch.is_anomaly_enabled()
            and not torch.is_autocast_enabled("cpu")
        )

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs of the networks; the next call overwrites them."""
        if self._shared:
            return self._passes.forward(self._rows(inputs), None)
        # One network at a time: the preprocessed rows stay in the cache, and memory is reused.
        for number, each in enumerate(inputs.unbind()):
            rows = self._rows(each)
            if number == 0 and self._inputs.shape[1:] != rows.shape:
                self._inputs = rows.new_empty(len(inputs), *rows.shape)
            self._inputs[number] = rows
        return self._passes.forward(self._inputs, None)

    @torch.no_grad()
    def forward_features(self, features: Tensor) -> Tensor:
        """Return the outputs for the inputs of the first layer, ``(K, N, in_features)``."""
        return self._passes.forward(features, None)

    def _rows(self, inputs: Tensor) -> Tensor:
        """Return the preprocessed and checked inputs, ``(N, in_features)``."""
        preprocessed = inputs if self._preprocess is None else self._preprocess(inputs)
        return self._network._validate_input(preprocessed)

    @torch.no_grad()
    def backward(self, grad_output: Tensor) -> None:
        """Set ``.grad`` of every stack, given the gradient of the latest outputs.

        The next call overwrites the tensors.
        """
        self.input_gradient(grad_output)

    @torch.no_grad()
    def input_gradient(self, grad_output: Tensor) -> Tensor | None:
        """Set ``.grad`` of every stack, and return the gradient of the latest inputs.

        It is ``(K, N, in_features)``; None without ``has_input_gradient``.
        """
        return self._passes.backward(grad_output)


def _is_stackable(activation: nn.Module) -> bool:
    """Return whether an activation maps ``(K, N, H)`` as it maps each ``(N, H)``."""
    # nn.GLU may act on another axis, and RReLU draws other random numbers for each network.
    is_excluded = type(activation) in (nn.GLU, nn.RReLU)
    return is_known(activation) and not is_excluded and not list(activation.parameters())
