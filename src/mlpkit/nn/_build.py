"""From the arguments of an MLP to its layers, whose weights are not set yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import nn

from mlpkit._checks import check_probability, error_message
from mlpkit.nn._config import MLPConfig, NamedActivation, check_length
from mlpkit.nn._hidden_layer import HiddenLayer
from mlpkit.nn._norms import build_norm
from mlpkit.nn.activations import Activation, ActivationConfig, build_activation, expansion

__all__ = [
    "FactoryKwargs",
    "build_head",
    "build_layers",
    "check_generator",
    "each_activation",
    "is_named",
    "named_activation",
    "named_activations",
    "stored_dropout",
]


class FactoryKwargs(NamedTuple):
    """Where tensors are made, and of which dtype; None is torch's default."""

    device: torch.device | str | None
    dtype: torch.dtype | None

    def check(self) -> None:
        """Raise unless the dtype is a floating one."""
        dtype: object = self.dtype
        if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
            raise TypeError(error_message("dtype", "a floating torch.dtype or None", dtype))

    def activation(self, argument: str, activation: Activation, width: int) -> nn.Module:
        """Return a fresh activation for one layer."""
        return build_activation(
            activation, width, argument=argument, device=self.device, dtype=self.dtype
        )

    def linear(self, in_features: int, out_features: int, *, bias: bool) -> nn.Linear:
        """Return a linear layer with unset weights."""
        return uninitialized_linear(
            in_features, out_features, bias=bias, device=self.device, dtype=self.dtype
        )


def uninitialized_linear(
    in_features: int,
    out_features: int,
    *,
    bias: bool,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
) -> nn.Linear:
    """Return a linear layer with unset weights: no number is drawn that is not used."""
    # Not made on the meta device and emptied: that imports torch's symbolic shapes, which takes
    # longer than a short training.
    linear: nn.Linear = _Unset(in_features, out_features, bias=bias, device=device, dtype=dtype)
    linear.__class__ = nn.Linear
    return linear


class _Unset(nn.Linear):
    def reset_parameters(self) -> None:
        """Leave the parameters as they are."""


def build_layers(
    config: MLPConfig, activations: Sequence[tuple[str, Activation]], making: FactoryKwargs
) -> Iterator[HiddenLayer]:
    """Build the hidden layers."""
    features = config.in_features
    dropouts = _dropouts(config)
    for index, (width, (argument, chosen)) in enumerate(
        zip(config.hidden_features, activations, strict=True)
    ):
        activation = making.activation(argument, chosen, width)
        outputs = width * expansion(activation)
        norm = None
        if config.norm is not None:
            norm = build_norm(config.norm, outputs, device=making.device, dtype=making.dtype)
        yield HiddenLayer(
            dropout=nn.Dropout(dropouts[index]),
            linear=making.linear(features, outputs, bias=config.bias),
            norm=norm,
            activation=activation,
            skip=config.residual and index > 0,
        )
        features = width


def build_head(
    config: MLPConfig, output_activation: nn.Module | None, making: FactoryKwargs
) -> tuple[nn.Dropout, nn.Linear | None]:
    """Build the output layer with the dropout before it; there is none in a backbone."""
    if config.out_features is None:
        return nn.Dropout(0.0), None
    outputs = config.out_features
    if output_activation is not None:
        outputs *= expansion(output_activation)
    features = (config.in_features, *config.hidden_features)[-1]
    linear = making.linear(features, outputs, bias=config.bias)
    return nn.Dropout(_dropouts(config)[-1]), linear


def _dropouts(config: MLPConfig) -> tuple[float, ...]:
    """Return the dropout on the input of each linear layer, with the head as the last."""
    each = config.dropout
    depth = len(config.hidden_features)
    return (config.input_dropout, *(each if isinstance(each, tuple) else (each,) * depth))


def each_activation(
    activation: Activation | Sequence[Activation], depth: int
) -> list[tuple[str, Activation]]:
    """Return the activation of each hidden layer, with what a message shall call it."""
    if isinstance(activation, Sequence) and not isinstance(activation, str):
        check_length("activation", activation, depth)
        return [(f"activation[{index}]", item) for index, item in enumerate(activation)]
    given: object = activation
    if depth == 0 and (isinstance(given, type) or not (callable(given) or is_named(given))):
        build_activation(activation, 1)  # no layer will ask for it, so its mistake is told now
    return [("activation", activation)] * depth


def is_named(activation: object) -> bool:
    """Return whether a configuration can hold the activation."""
    return isinstance(activation, str | ActivationConfig)


def named_activation(activation: Activation) -> NamedActivation:
    """Return what a configuration can hold: a stand-in for a module or a factory."""
    return activation if isinstance(activation, str | ActivationConfig) else "relu"


def named_activations(
    activation: Activation | Sequence[Activation],
) -> NamedActivation | tuple[NamedActivation, ...]:
    """Return what a configuration can hold, one for all or one for each."""
    if isinstance(activation, Sequence) and not isinstance(activation, str):
        return tuple(named_activation(item) for item in activation)
    return named_activation(activation)


def stored_dropout(dropout: float | Sequence[float]) -> float | tuple[float, ...]:
    """Return a copy of the caller's own sequence, so that nobody changes it later."""
    given: object = dropout
    if isinstance(given, str):  # a sequence too
        return check_probability("dropout", given)
    return tuple(dropout) if isinstance(dropout, Sequence) else dropout


def check_generator(generator: object) -> None:
    """Raise unless it is a generator or None."""
    if generator is not None and not isinstance(generator, torch.Generator):
        cure = "torch.Generator().manual_seed(0) makes one"
        raise TypeError(error_message("generator", "a torch.Generator or None", generator, cure))
