"""What a network computes where nothing learns, without the calls that do nothing there."""

from __future__ import annotations

from typing import Any, TypeGuard, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules import module as torch_modules

from mlpkit.nn._hidden_layer import HiddenLayer, HiddenLayers

__all__ = ["apply_head", "apply_layers", "is_inference"]

_Module = TypeVar("_Module", bound=nn.Module)


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

    The numbers are those of calling each layer. Those calls, of the layer, of dropout, of the
    linear map and of ReLU, are a good part of the time for one example, and they are left out
    where nobody has replaced or hooked into what would be called.
    """
    for layer in layers:
        parts: dict[str, Any] = layer._modules  # of the types that HiddenLayer declares
        if not (_is_plain(layer, HiddenLayer) and _does_nothing(parts["dropout"])):
            h = layer(h)
            continue
        linear, norm, activation = parts["linear"], layer.norm, parts["activation"]
        weights = _weights(linear)
        z: Tensor = linear(h) if weights is None else F.linear(h, *weights)
        if norm is not None:
            z = norm(z)
        elif weights is not None and type(z) is Tensor and _is_plain(activation, nn.ReLU):
            activation = torch.relu_  # in place: nobody holds z, but for modes that watch torch
        activated: Tensor = activation(z)
        h = activated + h if layer.skip else activated
    return h


def apply_head(dropout: nn.Dropout, head: nn.Linear, h: Tensor) -> Tensor:
    """Return the output of the network before its activation."""
    if not _does_nothing(dropout):
        h = dropout(h)
    weights = _weights(head)
    y: Tensor = head(h) if weights is None else F.linear(h, *weights)
    return y


def _weights(linear: nn.Module) -> tuple[Tensor, Tensor | None] | None:
    """Return weight and bias if calling the module is ``F.linear`` with them."""
    if not _is_plain(linear, nn.Linear):
        return None
    own = linear._parameters  # to ask for an attribute takes ten times as long
    weight = own.get("weight")
    if weight is None or "bias" not in own:  # a buffer, for instance
        return None
    return weight, own["bias"]


def _does_nothing(dropout: nn.Module | None) -> bool:
    return _is_plain(dropout, nn.Dropout) and (not dropout.training or dropout.p == 0.0)


def _is_plain(module: object, kind: type[_Module]) -> TypeGuard[_Module]:
    """Return whether calling the module is nothing but ``forward`` of that very class."""
    return type(module) is kind and not (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or module._compiled_call_impl is not None
        or not module.__dict__.keys().isdisjoint(_ELSEWHERE[kind])
    )


# What an object of the class keeps outside its own dictionary, unless somebody replaced it there.
_ELSEWHERE: dict[type[nn.Module], frozenset[str]] = {
    HiddenLayer: frozenset({"forward", "preactivation", "dropout", "linear", "activation"}),
    nn.Linear: frozenset({"forward"}),
    nn.Dropout: frozenset({"forward"}),
    nn.ReLU: frozenset({"forward"}),
}
