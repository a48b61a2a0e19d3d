"""Builds the modules of an MLP from its configuration; the weights are initialized afterwards."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import nn

from mlpkit._checks import Unquoted, error_message
from mlpkit._devices import check_device
from mlpkit.nn._config import MLPConfig
from mlpkit.nn._hidden_layer import HiddenLayer
from mlpkit.nn._norms import build_norm
from mlpkit.nn.activations import Activation, build_activation, expansion

__all__ = [
    "FactoryKwargs",
    "build_head",
    "build_layers",
    "check_generator",
    "each_activation",
    "uninitialized_linear",
]


class FactoryKwargs(NamedTuple):
    """Device and dtype of new tensors; None is torch's default."""

    device: torch.device | str | None
    dtype: torch.dtype | None

    def check(self) -> None:
        """Raise unless the dtype is floating or None, and this machine has the device."""
        dtype: object = self.dtype
        if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
            raise TypeError(error_message("dtype", "a floating torch.dtype or None", dtype))
        if self.device is not None:
            check_device(self.device)

    def activation(self, argument: str, activation: Activation, width: int) -> nn.Module:
        """Return a new activation for one layer."""
        _check_size(width)
        return build_activation(
            activation, width, argument=argument, device=self.device, dtype=self.dtype
        )

    def linear(self, in_features: int, out_features: int, *, bias: bool) -> nn.Linear:
        """Return a linear layer with uninitialized parameters."""
        _check_size(in_features, out_features)
        return uninitialized_linear(
            in_features, out_features, bias=bias, device=self.device, dtype=self.dtype
        )


def _check_size(*shape: int) -> None:
    """Raise if no tensor can have this shape: torch counts bytes in 64 bits."""
    if math.prod(shape) >= _MAX_ELEMENTS:
        rule = "widths for which every weight has fewer than 2**60 elements"
        raise ValueError(
            error_message("hidden_features", rule, Unquoted(f"a weight of shape {shape}"))
        )


_MAX_ELEMENTS = 2**60


def uninitialized_linear(
    in_features: int,
    out_features: int,
    *,
    bias: bool,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
) -> nn.Linear:
    """Return a linear layer with uninitialized parameters, without drawing random numbers."""
    # torch.nn.utils.skip_init goes through the meta device, which imports torch's symbolic shapes;
    # that takes longer than a short training run.
    linear: nn.Linear = _UninitializedLinear(
        in_features, out_features, bias=bias, device=device, dtype=dtype
    )
    linear.__class__ = nn.Linear
    return linear


class _UninitializedLinear(nn.Linear):
    def reset_parameters(self) -> None:
        """Do nothing: the constructor of nn.Linear calls this method to draw the parameters."""


def build_layers(
    config: MLPConfig,
    activations: Sequence[tuple[str, Activation]],
    factory_kwargs: FactoryKwargs,
) -> Iterator[HiddenLayer]:
    """Yield the hidden layers, first to last; ``activations`` has an entry for each."""
    features = config.in_features
    dropouts = _dropouts(config)
    for index, (width, (argument, chosen)) in enumerate(
        zip(config.hidden_features, activations, strict=True)
    ):
        activation = factory_kwargs.activation(argument, chosen, width)
        outputs = width * expansion(activation)
        norm = None
        if config.norm is not None:
            norm = build_norm(config.norm, outputs, **factory_kwargs._asdict())
        yield HiddenLayer(
            dropout=nn.Dropout(dropouts[index]),
            linear=factory_kwargs.linear(features, outputs, bias=config.bias),
            norm=norm,
            activation=activation,
            skip=config.residual and index > 0,
        )
        features = width


def build_head(
    config: MLPConfig, output_activation: nn.Module | None, factory_kwargs: FactoryKwargs
) -> tuple[nn.Dropout, nn.Linear | None]:
    """Return the dropout before the head and the head, which is None in a backbone."""
    if config.out_features is None:
        return nn.Dropout(0.0), None
    outputs = config.out_features
    if output_activation is not None:
        outputs *= expansion(output_activation)
    features = (config.in_features, *config.hidden_features)[-1]
    linear = factory_kwargs.linear(features, outputs, bias=config.bias)
    return nn.Dropout(_dropouts(config)[-1]), linear


def _dropouts(config: MLPConfig) -> tuple[float, ...]:
    """Return the dropout probability at the input of each linear layer, including the head."""
    each = config.dropout
    depth = len(config.hidden_features)
    return (config.input_dropout, *(each if isinstance(each, tuple) else (each,) * depth))


def each_activation(
    activation: Activation | tuple[Activation, ...], depth: int
) -> list[tuple[str, Activation]]:
    """Return the activation of each hidden layer with its name in error messages."""
    if isinstance(activation, tuple):
        return [(f"activation[{index}]", item) for index, item in enumerate(activation)]
    return [("activation", activation)] * depth


def check_generator(generator: object) -> None:
    """Raise unless it is a generator or None."""
    if generator is not None and not isinstance(generator, torch.Generator):
        cure = "torch.Generator().manual_seed(0) makes one"
        raise TypeError(error_message("generator", "a torch.Generator or None", generator, cure))
