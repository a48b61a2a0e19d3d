"""HiddenLayer, one hidden layer of an MLP, and the typed list of hidden layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, overload

from torch import Tensor, nn

from mlpkit.nn.activations import expansion

__all__ = ["HiddenLayer", "HiddenLayers"]


class HiddenLayer(nn.Module):
    r"""One hidden layer: dropout, linear, norm and activation, optionally with a skip connection.

    .. math:: h = \phi(\mathrm{norm}(W \, \mathrm{dropout}(x) + b)) \; (+ \; x)

    :class:`MLP` builds its hidden layers from this class. The submodules can be inspected and can
    have hooks.

    Args:
        dropout: Dropout on the input; with probability 0 it is the identity.
        linear: The affine map, with ``H * expansion(activation)`` outputs.
        norm: Normalization of the output of ``linear``; None for none.
        activation: The activation, which maps to H features.
        skip: Whether the input, before dropout, is added to the output of the activation.

    Shape:
        - Input: :math:`(*, D)`.
        - Output: :math:`(*, H)`, with H equal to D if ``skip`` is True.

    Example:
        >>> from mlpkit.nn import MLP
        >>> MLP(4, (8,), 2, norm="layer").layers[0]
        Linear(4, 8) -> LayerNorm -> ReLU()
    """

    dropout: nn.Dropout
    linear: nn.Linear
    norm: nn.Module | None
    activation: nn.Module
    skip: bool

    def __init__(
        self,
        *,
        dropout: nn.Dropout,
        linear: nn.Linear,
        norm: nn.Module | None,
        activation: nn.Module,
        skip: bool,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.linear = linear
        self.norm = norm
        self.activation = activation
        self.skip = skip

    @property
    def in_features(self) -> int:
        """Number of input features."""
        return self.linear.in_features

    @property
    def out_features(self) -> int:
        """Number of output features, after the activation."""
        return self.linear.out_features // expansion(self.activation)

    def preactivation(self, x: Tensor) -> Tensor:
        """Return the input of the activation."""
        z: Tensor = self.linear(self.dropout(x))
        return z if self.norm is None else self.norm(z)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the layer."""
        h: Tensor = self.activation(self.preactivation(x))
        return h + x if self.skip else h

    def __repr__(self) -> str:
        steps = [f"Dropout({self.dropout.p:g})"] if self.dropout.p > 0 else []
        steps.append(linear_repr(self.linear))
        if self.norm is not None:
            steps.append(type(self.norm).__name__)
        steps.append(" ".join(repr(self.activation).split()))
        return " -> ".join(steps) + (" (+ input)" if self.skip else "")

    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Tensor: ...


class HiddenLayers(nn.ModuleList):
    """The hidden layers of an :class:`MLP`: a module list whose items have a static type."""

    if TYPE_CHECKING:

        def __iter__(self) -> Iterator[HiddenLayer]: ...

        @overload
        def __getitem__(self, idx: slice) -> HiddenLayers: ...

        @overload
        def __getitem__(self, idx: int) -> HiddenLayer: ...

        def __getitem__(self, idx: int | slice) -> HiddenLayer | HiddenLayers: ...


def linear_repr(linear: nn.Linear) -> str:
    """Return a short repr of a linear layer: its sizes, and ``bias=False`` if it has no bias."""
    has_bias = any(name == "bias" for name, _ in linear.named_parameters())
    sizes = f"{linear.in_features}, {linear.out_features}"
    return f"Linear({sizes})" if has_bias else f"Linear({sizes}, bias=False)"
