"""Initialization of the weights of an MLP, and the check that no two layers share parameters."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import nn

from mlpkit._checks import error_message
from mlpkit.nn._draw import uniform_
from mlpkit.nn._hidden_layer import HiddenLayer
from mlpkit.nn._init import layer_scale, reset_linear_, second_moment
from mlpkit.nn._options import InitName

__all__ = ["check_no_shared_parameters", "reset_linears", "reset_module"]


def reset_linears(
    layers: Iterable[HiddenLayer],
    head: nn.Linear | None,
    *,
    init: InitName,
    generator: torch.Generator | None,
) -> None:
    """Initialize all linear layers, and scale down the layers that have a skip connection."""
    layers = tuple(layers)
    if init == "torch":
        for linear in (*(layer.linear for layer in layers), *([] if head is None else [head])):
            _reset_as_torch(linear, generator)
        return
    # docs/decisions/0003-residual.md: the sum of n branches of scale 1 / n stays bounded.
    branch = 1 / max(1, sum(layer.skip for layer in layers))
    moment = 1.0  # second moment of the input of the next layer
    for layer in layers:
        shrink = branch if layer.skip else 1.0
        width = layer.out_features
        if layer.linear.weight.is_meta:
            continue
        if layer.norm is None:
            scale = layer_scale(layer.activation, width=width)
            variance, after = scale.preactivation_variance * shrink**2, scale.second_moment
        else:
            variance, after = 1.0, second_moment(layer.activation, width=width)
        reset_linear_(
            layer.linear,
            preactivation_variance=variance,
            input_second_moment=moment,
            generator=generator,
        )
        # A norm cancels the scale of the weights before it, so the norm's weight is scaled instead.
        if layer.norm is not None and layer.skip:
            with torch.no_grad():
                weight = layer.norm.get_parameter("weight")
                weight.fill_(shrink)
        if not layer.skip:
            moment = after
    if head is not None and not head.weight.is_meta:
        reset_linear_(head, input_second_moment=moment, generator=generator)


def _reset_as_torch(linear: nn.Linear, generator: torch.Generator | None) -> None:
    """Draw weight and bias from U(-b, b) with b = 1 / sqrt(fan_in), as nn.Linear does."""
    bound = 1 / math.sqrt(linear.in_features)
    for parameter in linear.parameters():  # first the weight, then the bias if there is one
        uniform_(parameter, bound, generator)


def reset_module(name: str, module: nn.Module) -> None:
    """Reset a module with all its submodules; raise TypeError if one cannot be reset."""
    for path, part in module.named_modules(prefix=name):
        reset = getattr(part, "reset_parameters", None)
        if callable(reset):
            reset()
        elif [*part.parameters(recurse=False), *part.buffers(recurse=False)]:
            rule = "a module with a method reset_parameters() to be reset"
            raise TypeError(error_message(path, rule, part, "add the method, or build a new MLP"))


def check_no_shared_parameters(activations: Mapping[str, nn.Module]) -> None:
    """Raise if two activations share a module, a parameter or a buffer.

    Instances are copied, so only a factory that returns the same object twice can cause this.
    """
    owners: dict[int, str] = {}
    for name, activation in activations.items():
        parts = (*activation.modules(), *activation.parameters(), *activation.buffers())
        for part in {id(part): part for part in parts}.values():
            other = owners.setdefault(id(part), name)
            if other != name:
                what = "module" if isinstance(part, nn.Module) else "tensor"
                cure = f"{other} and {name} share a {what}; build a new one in each call"
                rule = "a factory that returns a new module for each layer"
                raise ValueError(error_message("activation", rule, part, cure))
