"""from_sequential: a torch.nn.Sequential of linear layers as an MLP."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from mlpkit._checks import Unquoted, error_message
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
_ORDER = "in the order of an MLP's layer: Dropout, Linear, norm, activation"


def from_sequential(sequential: nn.Sequential) -> MLP:
    """Convert a :class:`torch.nn.Sequential` of linear layers to an MLP with the same outputs.

    The Sequential is a chain of layers, each of which consists of dropout (optional),
    :class:`torch.nn.Linear`, a norm (optional) and an activation (optional). The chain may begin
    with :class:`torch.nn.Flatten`. Nested Sequentials are flattened, and
    :class:`torch.nn.Identity` is ignored, as is a dropout of 0 at the end, which
    ``torchvision.ops.MLP`` has. The last linear layer becomes the head.

    Weights, running statistics and slopes are copied. Device, dtype and mode are kept. A linear
    layer without a bias gets a bias of zeros if another one has a bias.

    Args:
        sequential: The network, which is not modified.

    Raises:
        TypeError: If ``sequential`` is not a :class:`torch.nn.Sequential`.
        ValueError: If :class:`mlpkit.nn.MLP` has no equivalent of a module, which the message
            names, or if the outputs differ.

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
        raise _error(*head.norm, "followed by a Linear layer")
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
    """Yield the name and the module of every module but Identity, nested ones included."""
    if type(sequential).forward is not nn.Sequential.forward:
        rule = "a Sequential with the forward method of torch.nn.Sequential"
        raise ValueError(error_message(prefix, rule, type(sequential)))
    for name, module in sequential._modules.items():  # named_children skips repeated modules
        path = f"{prefix}.{name}"
        if isinstance(module, nn.Sequential):
            yield from _parts(path, module)
        elif type(module) is not nn.Identity:
            yield path, module


def _layers(parts: Sequence[tuple[str, nn.Module]]) -> list[_Layer]:
    """Group a chain of modules into layers; raise for a module in the wrong position."""
    layers: list[_Layer] = []
    dropout: tuple[str, nn.Dropout] | None = None  # of the next layer
    for name, module in parts:
        layer = layers[-1] if layers and dropout is None else None
        if type(module) is nn.Dropout and dropout is None:
            dropout = (name, module)
        elif type(module) is nn.Linear:
            if any(module is known.linear[1] for known in layers):
                raise _error(name, module, "a layer that is used once")
            layers.append(_Layer(dropout=dropout, linear=(name, module)))
            dropout = None
        elif layer is None or type(module) is nn.Dropout or layer.activation is not None:
            raise _error(name, module, _ORDER)
        elif type(module) in _NORMS:
            if layer.norm is not None:
                raise _error(name, module, _ORDER)
            layer.norm = (name, module)
        else:
            _check_activation(name, module)
            layer.activation = (name, module)
    if dropout is not None and dropout[1].p > 0.0:
        name, module = dropout
        cure = "pass nn.Sequential(*list(sequential)[:-1]): an MLP has no dropout of its outputs"
        raise ValueError(error_message(name, "followed by a Linear layer", module, cure))
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
        generator=torch.Generator().manual_seed(0),  # the initial weights are replaced
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
    """Return the output width of a layer; gated units and Maxout reduce that of the linear map."""
    per_unit = expansion(build_activation(_named_activation(layer), 1))
    width, rest = divmod(layer.linear[1].out_features, per_unit)
    if rest:
        rule = f"a layer with a multiple of {per_unit} outputs, as its activation requires"
        raise _error(*layer.linear, rule)
    return width


def _named_activation(layer: _Layer) -> ActivationConfig:
    """Return the activation by name, without the hooks and the mode of the module."""
    return activation_config(nn.Identity() if layer.activation is None else layer.activation[1])


def _check_activation(name: str, module: nn.Module) -> None:
    if isinstance(module, nn.Softmax | nn.LogSoftmax):
        rule = "an activation other than a softmax; an MLP returns logits for the loss"
        raise _error(name, module, rule)
    try:
        activation_config(module)
    except ConfigError:
        rule = "a Linear, Dropout, BatchNorm1d, LayerNorm, RMSNorm or a named activation"
        raise _error(name, module, rule) from None
    if isinstance(module, nn.GLU) and module.dim not in (1, -1):
        raise _error(name, module, "a GLU of the last dimension")


def _check_flatten(name: str, module: nn.Module) -> None:
    if (getattr(module, "start_dim", None), getattr(module, "end_dim", None)) != (1, -1):
        raise _error(name, module, "a Flatten of all dimensions but the first")


def _norm_name(hidden: Sequence[_Layer]) -> NormName | None:
    """Return the norm of the hidden layers; raise if they have different ones."""
    norms = [None if layer.norm is None else _NORMS[type(layer.norm[1])] for layer in hidden]
    for norm, layer in zip(norms, hidden, strict=True):
        if norm != norms[0]:
            name, module = layer.linear if layer.norm is None else layer.norm
            rule = f"followed by the norm of the first hidden layer, {norms[0]!r}"
            if layer.norm is not None:
                rule = f"the norm of the first hidden layer, {norms[0]!r}"
            raise _error(name, module, rule)
    return norms[0] if norms else None


def _copy_linear(layer: _Layer, linear: nn.Linear) -> None:
    name, source = layer.linear
    if source.weight.shape != linear.weight.shape:
        raise _error(name, source, f"a layer with {linear.in_features} inputs")
    linear.weight.copy_(source.weight)
    bias = _bias(layer)
    if bias is not None:
        linear.bias.copy_(bias)


def _bias(layer: _Layer) -> Tensor | None:
    bias: Tensor | None = layer.linear[1].bias
    return bias


def _copy_norm(name: str, source: nn.Module, norm: nn.Module) -> None:
    """Copy the tensors of a norm; raise unless it has the options of the MLP's norm."""
    options = ("eps", "momentum", "affine", "track_running_stats", "elementwise_affine")
    same = all(getattr(source, key, None) == getattr(norm, key, None) for key in options)
    tensors, expected = source.state_dict(), norm.state_dict()
    if not same or {key: value.shape for key, value in tensors.items()} != {
        key: value.shape for key, value in expected.items()
    }:
        raise _error(name, source, "a norm of the layer's width with torch's default options")
    norm.load_state_dict(tensors)


def _copy_slopes(layer: _Layer, activation: nn.Module | None) -> None:
    if layer.activation is None or activation is None:
        return
    name, source = layer.activation
    tensors, expected = source.state_dict(), activation.state_dict()
    if any(value.shape != expected[key].shape for key, value in tensors.items()):
        raise _error(name, source, "a PReLU with one slope, or one slope per unit of its layer")
    activation.load_state_dict(tensors)


def _error(name: str, module: nn.Module, rule: str) -> ValueError:
    return ValueError(error_message(name, rule, module))


def _compare(sequential: nn.Sequential, network: MLP) -> None:
    """Raise unless both networks give the same outputs; this detects hooks."""
    like = next(network.parameters())
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, network.in_features, generator=generator).to(like)
    with torch.no_grad():  # on copies, so that modes and statistics do not change
        expected = copy.deepcopy(sequential).eval()(x)
        outputs = copy.deepcopy(network).eval()(x)
    if not torch.allclose(outputs, expected, rtol=1e-3, atol=1e-4):
        worst = float((outputs - expected).abs().max())
        rule = "a network whose modules alone determine its outputs"
        cure = "remove hooks from its modules"
        found = f"outputs that differ by {worst:.2g}"
        raise ValueError(error_message("sequential", rule, Unquoted(found), cure))
