"""A faster forward pass for inference, which skips module calls that have no effect."""

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
    """Return whether the mode is eval and there are no gradients, global hooks or compilation."""
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
    """Return the output of the last hidden layer, with the same bits as calling each layer.

    For one example the calls of the layer, dropout, linear and ReLU modules take a large part of
    the time. A call is skipped if the module has no hook and its methods have not been replaced.
    """
    for layer in layers:
        parts: dict[str, Any] = layer._modules  # the annotations of HiddenLayer state their types
        if not (_is_unmodified(layer, HiddenLayer) and _is_identity(parts["dropout"])):
            h = layer(h)
            continue
        linear, norm, activation = parts["linear"], layer.norm, parts["activation"]
        weights = _weights(linear)
        z: Tensor = linear(h) if weights is None else F.linear(h, *weights)
        if norm is not None:
            z = norm(z)
        elif weights is not None and type(z) is Tensor and _is_unmodified(activation, nn.ReLU):
            activation = torch.relu_  # in place: nothing else refers to z
        activated: Tensor = activation(z)
        h = activated + h if layer.skip else activated
    return h


def apply_head(dropout: nn.Dropout, head: nn.Linear, h: Tensor) -> Tensor:
    """Return the output of the head, before the output activation."""
    if not _is_identity(dropout):
        h = dropout(h)
    weights = _weights(head)
    y: Tensor = head(h) if weights is None else F.linear(h, *weights)
    return y


def _weights(linear: nn.Module) -> tuple[Tensor, Tensor | None] | None:
    """Return weight and bias if the module computes ``F.linear`` of them and nothing else."""
    if not _is_unmodified(linear, nn.Linear):
        return None
    parameters = linear._parameters  # ten times as fast as attribute access
    weight = parameters.get("weight")
    if weight is None or "bias" not in parameters:  # for instance, it is a buffer
        return None
    return weight, parameters["bias"]


def _is_identity(dropout: nn.Module | None) -> bool:
    return _is_unmodified(dropout, nn.Dropout) and (not dropout.training or dropout.p == 0.0)


def _is_unmodified(module: object, kind: type[_Module]) -> TypeGuard[_Module]:
    """Return whether a call runs only the ``forward`` of exactly that class, without hooks."""
    return type(module) is kind and not (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or module._compiled_call_impl is not None
        or not module.__dict__.keys().isdisjoint(_NOT_IN_DICT[kind])
    )


# Names that are in the ``__dict__`` of an object only if the attribute was replaced on the object.
_NOT_IN_DICT: dict[type[nn.Module], frozenset[str]] = {
    HiddenLayer: frozenset({"forward", "preactivation", "dropout", "linear", "activation"}),
    nn.Linear: frozenset({"forward"}),
    nn.Dropout: frozenset({"forward"}),
    nn.ReLU: frozenset({"forward"}),
}
