"""from_sequential: a torch.nn.Sequential of linear layers as an MLP."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from mlpkit._checks import error_message
from mlpkit.errors import ConfigError
from mlpkit.nn import (
    MLP,
    ActivationConfig,
    BatchNorm,
    NormName,
    activation_config,
    build_activation,
    expansion,
)

__all__ = ["from_sequential"]

_NORMS: dict[type[nn.Module], NormName] = {
    BatchNorm: "batch",
    nn.BatchNorm1d: "batch",
    nn.LayerNorm: "layer",
    nn.RMSNorm: "rms",
}
_ORDER = "Dropout, Linear, norm, activation; that is the order of an MLP's layer"


def from_sequential(sequential: nn.Sequential) -> MLP:
    """Return an MLP that computes what a Sequential of linear layers computes.

    The Sequential is a chain of dropout (optional), :class:`torch.nn.Linear`, norm (optional) and
    activation (optional), which may begin with :class:`torch.nn.Flatten`; Sequentials within it
    count by their parts, and :class:`torch.nn.Identity` counts for nothing. The last linear layer
    becomes the head. Weights, running statistics and slopes are copied; device, dtype and mode
    stay.
    A linear layer without bias gets a bias of zeros where another one has a bias.

    Args:
        sequential: The network, which stays as it is.

    Raises:
        TypeError: If it is no :class:`torch.nn.Sequential`.
        ValueError: If a part of it has no place in an :class:`mlpkit.nn.MLP`; the message names it.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mlpkit.interop import from_sequential
        >>> sequential = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
        >>> network = from_sequential(sequential)
        >>> network.config.dropout
        (0.5,)
        >>> x = torch.randn(5, 4)
        >>> torch.allclose(network.eval()(x), sequential.eval()(x))
        True
    """
    if not isinstance(sequential, nn.Sequential):
        raise TypeError(error_message("sequential", "a torch.nn.Sequential", sequential))
    parts = list(_parts("sequential", sequential))
    flatten = bool(parts) and type(parts[0][1]) is nn.Flatten
    if flatten:
        _check_flatten(*parts.pop(0))
    *hidden, head = _layers(parts)
    if head.norm is not None:
        raise _refusal(*head.norm, "a Linear layer after it")
    network = _build(hidden, head, flatten=flatten)
    network = network.to(device=head.linear[1].weight.device).train(sequential.training)
    _compare(sequential, network)
    return network


@dataclasses.dataclass(kw_only=True)
class _Layer:
    """The parts of one layer, each with its name in the Sequential."""

    dropout: tuple[str, nn.Dropout] | None = None
    linear: tuple[str, nn.Linear]
    norm: tuple[str, nn.Module] | None = None
    activation: tuple[str, nn.Module] | None = None


def _parts(prefix: str, sequential: nn.Sequential) -> Iterator[tuple[str, nn.Module]]:
    """Yield the name and the module of everything in a Sequential that does something."""
    if type(sequential).forward is not nn.Sequential.forward:
        rule = "a Sequential that runs its parts one after the other"
        raise ValueError(error_message(prefix, rule, type(sequential)))
    for name, module in sequential._modules.items():  # named_children leaves out repetitions
        place = f"{prefix}.{name}"
        if isinstance(module, nn.Sequential):
            yield from _parts(place, module)
        elif type(module) is not nn.Identity:
            yield place, module


def _layers(parts: Sequence[tuple[str, nn.Module]]) -> list[_Layer]:
    """Return the layers that a chain of modules makes; refuse what has no place in one."""
    layers: list[_Layer] = []
    dropout: tuple[str, nn.Dropout] | None = None  # on the way into the next linear layer
    for name, module in parts:
        layer = layers[-1] if layers and dropout is None else None
        if type(module) is nn.Dropout and dropout is None:
            dropout = (name, module)
        elif type(module) is nn.Linear:
            if any(module is known.linear[1] for known in layers):
                raise _refusal(name, module, "no layer that stands there twice")
            layers.append(_Layer(dropout=dropout, linear=(name, module)))
            dropout = None
        elif layer is None or type(module) is nn.Dropout or layer.activation is not None:
            raise _refusal(name, module, _ORDER)
        elif type(module) in _NORMS:
            if layer.norm is not None:
                raise _refusal(name, module, _ORDER)
            layer.norm = (name, module)
        else:
            _check_activation(name, module)
            layer.activation = (name, module)
    if dropout is not None:
        raise _refusal(*dropout, "a Linear layer after it")
    if not layers:
        raise ValueError(error_message("sequential", "a network with a Linear layer", parts))
    return layers


def _build(hidden: Sequence[_Layer], head: _Layer, *, flatten: bool) -> MLP:
    """Return the MLP of these layers, with their weights, on the CPU."""
    layers = [*hidden, head]
    dropouts = [0.0 if layer.dropout is None else layer.dropout[1].p for layer in layers]
    output = None if head.activation is None else _named_activation(head)
    network = MLP(
        layers[0].linear[1].in_features,
        [_width(layer) for layer in hidden],
        _width(head),
        activation=[_named_activation(layer) for layer in hidden],
        output_activation=output,
        norm=_norm_name(hidden),
        dropout=dropouts[1:],
        input_dropout=dropouts[0],
        bias=any(_bias(layer) is not None for layer in layers),
        flatten=flatten,
        dtype=head.linear[1].weight.dtype,
        device="cpu",
        generator=torch.Generator().manual_seed(0),  # drawn, then replaced
    )
    assert network.head is not None, "out_features is given"
    linears = [*(layer.linear for layer in network.layers), network.head]
    with torch.no_grad():
        for linear, layer in zip(linears, layers, strict=True):
            _copy_linear(layer, linear)
    for made, layer in zip(network.layers, hidden, strict=True):
        if made.norm is not None and layer.norm is not None:
            _copy_norm(*layer.norm, made.norm)
    activations = dict(network.named_activations())
    for index, layer in enumerate(hidden):
        _copy_slopes(layer, activations[f"layers.{index}.activation"])
    _copy_slopes(head, activations.get("output_activation"))
    return network


def _width(layer: _Layer) -> int:
    """Return what leaves a layer; a gated unit or Maxout takes more features than it gives."""
    per_unit = expansion(build_activation(_named_activation(layer), 1))
    width, rest = divmod(layer.linear[1].out_features, per_unit)
    if rest:
        rule = f"a layer whose outputs are a multiple of {per_unit}, as its activation wants"
        raise _refusal(*layer.linear, rule)
    return width


def _named_activation(layer: _Layer) -> ActivationConfig:
    """Return the activation by name, which leaves behind what hangs on the module: hooks, modes."""
    return activation_config(nn.Identity() if layer.activation is None else layer.activation[1])


def _check_activation(name: str, module: nn.Module) -> None:
    if isinstance(module, nn.Softmax | nn.LogSoftmax):
        rule = "no softmax: an MLP returns logits, and the loss holds the softmax"
        raise _refusal(name, module, rule)
    try:
        activation_config(module)
    except ConfigError:
        rule = "a Linear, Dropout, BatchNorm1d, LayerNorm, RMSNorm or an activation with a name"
        raise _refusal(name, module, rule) from None
    if isinstance(module, nn.GLU) and module.dim not in (1, -1):
        raise _refusal(name, module, "a GLU of the last axis")


def _check_flatten(name: str, module: nn.Module) -> None:
    if (getattr(module, "start_dim", None), getattr(module, "end_dim", None)) != (1, -1):
        raise _refusal(name, module, "a Flatten of all axes but the first")


def _norm_name(hidden: Sequence[_Layer]) -> NormName | None:
    """Return the one norm of all hidden layers."""
    norms = [None if layer.norm is None else _NORMS[type(layer.norm[1])] for layer in hidden]
    for norm, layer in zip(norms, hidden, strict=True):
        if norm != norms[0]:
            name, module = layer.linear if layer.norm is None else layer.norm
            rule = f"followed by the norm of the first hidden layer, {norms[0]!r}"
            if layer.norm is not None:
                rule = f"of the kind of the first hidden layer's norm, {norms[0]!r}"
            raise _refusal(name, module, rule)
    return norms[0] if norms else None


def _copy_linear(layer: _Layer, linear: nn.Linear) -> None:
    name, source = layer.linear
    if source.weight.shape != linear.weight.shape:
        raise _refusal(name, source, f"a layer of {linear.in_features} inputs")
    linear.weight.copy_(source.weight)
    bias = _bias(layer)
    if bias is not None:
        linear.bias.copy_(bias)


def _bias(layer: _Layer) -> Tensor | None:
    bias: Tensor | None = layer.linear[1].bias
    return bias


def _copy_norm(name: str, source: nn.Module, norm: nn.Module) -> None:
    """Copy the tensors of a norm whose options are those that an MLP's norm has."""
    options = ("eps", "momentum", "affine", "track_running_stats", "elementwise_affine")
    same = all(getattr(source, key, None) == getattr(norm, key, None) for key in options)
    tensors, expected = source.state_dict(), norm.state_dict()
    if not same or {key: value.shape for key, value in tensors.items()} != {
        key: value.shape for key, value in expected.items()
    }:
        raise _refusal(name, source, "a norm of the layer's width with torch's default options")
    norm.load_state_dict(tensors)


def _copy_slopes(layer: _Layer, activation: nn.Module | None) -> None:
    if layer.activation is None or activation is None:
        return
    name, source = layer.activation
    tensors, expected = source.state_dict(), activation.state_dict()
    if any(value.shape != expected[key].shape for key, value in tensors.items()):
        raise _refusal(name, source, "a PReLU with one slope, or one for each unit of its layer")
    activation.load_state_dict(tensors)


def _refusal(name: str, module: nn.Module, rule: str) -> ValueError:
    return ValueError(error_message(name, rule, module))


def _compare(sequential: nn.Sequential, network: MLP) -> None:
    """Raise unless both compute the same: a hook or a parametrization is seen nowhere else."""
    like = next(network.parameters())
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, network.in_features, generator=generator).to(like)
    with torch.no_grad():  # copies: no mode and no statistic of the given one changes
        expected = copy.deepcopy(sequential).eval()(x)
        outputs = copy.deepcopy(network).eval()(x)
    if not torch.allclose(outputs, expected, rtol=1e-3, atol=1e-4):
        worst = float((outputs - expected).abs().max())
        rule = "a network whose modules alone make its output"
        cure = "remove hooks from its modules"
        found = f"outputs that differ by {worst:.2g}"
        raise ValueError(error_message("sequential", rule, found, cure))
