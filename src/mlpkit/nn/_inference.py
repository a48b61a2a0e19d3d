"""What a network computes where nothing learns, without the calls that do nothing there."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules import module as torch_modules

from mlpkit.nn._hidden import HiddenLayer, HiddenLayers

__all__ = ["apply_head", "apply_layers", "is_inference"]


def is_inference(network: nn.Module) -> bool:
    """Return whether a pass is for its result alone, and nobody watches all modules."""
    return not (
        network.training
        or torch.is_grad_enabled()
        or torch_modules._global_forward_hooks
        or torch_modules._global_forward_pre_hooks
        or torch_modules._global_backward_hooks
        or torch_modules._global_backward_pre_hooks
        or torch.compiler.is_compiling()
    )


def apply_layers(layers: HiddenLayers, h: Tensor) -> Tensor:
    """Return what leaves the last hidden layer.

    The numbers are those of calling each layer. Those calls, of the layer, of dropout and of the
    linear map, are a good part of the time for one example, and they are left out where nobody has
    replaced or hooked into what would be called.
    """
    for layer in layers:
        parts = layer._modules
        linear, dropout = parts["linear"], parts["dropout"]
        if not (type(layer) is HiddenLayer and _is_quiet(layer) and _does_nothing(dropout)):
            h = layer(h)
            continue
        z = _mapped(linear, h)
        norm = layer.norm
        if norm is not None:
            z = norm(z)
        activated: Tensor = layer.activation(z)
        h = activated + h if layer.skip else activated
    return h


def apply_head(dropout: nn.Dropout, head: nn.Linear, h: Tensor) -> Tensor:
    """Return the output of the network before its activation."""
    return _mapped(head, h if _does_nothing(dropout) else dropout(h))


def _mapped(linear: nn.Module | None, x: Tensor) -> Tensor:
    if type(linear) is nn.Linear and _is_quiet(linear):
        return F.linear(x, linear.weight, linear.bias)
    assert linear is not None, "every layer has one"
    mapped: Tensor = linear(x)
    return mapped


def _does_nothing(dropout: nn.Module | None) -> bool:
    return (
        type(dropout) is nn.Dropout
        and (not dropout.training or dropout.p == 0.0)
        and _is_quiet(dropout)
    )


def _is_quiet(module: nn.Module) -> bool:
    """Return whether calling the module is nothing but its class's ``forward``."""
    return not (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or module._compiled_call_impl is not None
        or not _OWN.isdisjoint(module.__dict__)
    )


# Methods that somebody may have replaced on one object.
_OWN = frozenset({"forward", "preactivation"})
