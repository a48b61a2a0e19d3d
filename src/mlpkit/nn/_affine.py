"""Networks as affine maps: homogeneous coordinates, and linear networks merged into one layer."""

from __future__ import annotations

import copy
import dataclasses
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mlpkit._checks import error_message
from mlpkit.nn._build import uninitialized_linear
from mlpkit.nn._mlp import MLP
from mlpkit.nn.activations import Maxout

__all__ = ["HomogeneousLayer", "HomogeneousNetwork", "homogeneous", "merge_affine"]


class _Affine(NamedTuple):
    """The map from x to ``weight @ x + bias``, in float64 on the CPU."""

    weight: Tensor
    bias: Tensor


@torch.no_grad()
def merge_affine(model: MLP) -> nn.Linear:
    r"""Merge a network without a nonlinearity into the equivalent linear layer.

    .. math:: W_2 (W_1 x + b_1) + b_2 = (W_2 W_1) \, x + (W_2 b_1 + b_2)

    Between the linear layers there may be other affine operations: the identity, Maxout with one
    piece, batch norm with its running statistics, and skip connections. The products are computed
    in float64 and cast to the dtype of the network.

    Args:
        model: A network in eval mode whose activations are the identity.

    Returns:
        A new linear layer that computes the same function of inputs ``(*, in_features)``. It shares
        no memory with the network, and it has a bias even if the network has none.

    Raises:
        TypeError: If ``model`` is not an :class:`MLP`.
        ValueError: If an operation in it is not affine, or it is in training mode and has dropout
            or batch norm.

    Example:
        >>> import torch
        >>> from mlpkit.nn import MLP, merge_affine
        >>> model = MLP(6, (4, 3), 1, activation="identity", dtype=torch.float64)
        >>> x = torch.randn(5, 6, dtype=torch.float64)
        >>> torch.allclose(merge_affine(model)(x), model(x), rtol=1e-12)
        True
    """
    _check_model(model, "an MLP")
    for name, activation in model.named_activations():
        is_affine = isinstance(activation, nn.Identity) or (
            isinstance(activation, Maxout) and activation.num_pieces == 1
        )
        if not is_affine:
            rule = "the identity"
            cure = "a network with a nonlinearity is not an affine map"
            raise ValueError(error_message(f"{name} of model", rule, activation, cure))
    features = model.in_features
    merged = _Affine(torch.eye(features, dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
    merged = merged._replace(bias=merged.bias.expand(features))
    for index, layer in enumerate(model.layers):
        if layer.norm is not None and not isinstance(layer.norm, nn.BatchNorm1d):
            rule = "None or batch norm"
            cure = "its scale depends on the input, so the network is not an affine map"
            raise ValueError(error_message(f"layers.{index}.norm of model", rule, layer.norm, cure))
        affine = _merged_with_norm(layer.linear, layer.norm)
        after = _Affine(affine.weight @ merged.weight, affine.weight @ merged.bias + affine.bias)
        if layer.skip:
            after = _Affine(after.weight + merged.weight, after.bias + merged.bias)
        merged = after
    if model.head is not None:
        affine = _merged_with_norm(model.head, None)
        merged = _Affine(affine.weight @ merged.weight, affine.weight @ merged.bias + affine.bias)
    like = next(model.parameters(), torch.empty(0))
    outputs = merged.weight.shape[0]
    linear = uninitialized_linear(
        features, outputs, bias=True, device=like.device, dtype=like.dtype
    )
    linear.weight.copy_(merged.weight)
    linear.bias.copy_(merged.bias)
    return linear


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class HomogeneousLayer:
    r"""One layer of a :class:`HomogeneousNetwork`, with the bias as the last column of the weight.

    .. math:: h = \phi(W_h \, [x, 1]^\top) \; (+ \; x)

    Attributes:
        weight: The matrix :math:`W_h = [W \; b]`, ``(outputs, inputs + 1)``.
        activation: The function :math:`\phi`, including a layer norm or RMS norm before the
            activation; None for the identity.
        skip: Whether the input is added to the output.
    """

    weight: Tensor = dataclasses.field(repr=False)
    activation: nn.Module | None
    skip: bool

    def __call__(self, x: Tensor) -> Tensor:
        """Return the output for ``x``, ``(*, inputs)``; the 1 is appended here."""
        one = x.new_ones((*x.shape[:-1], 1))
        h: Tensor = torch.cat((x, one), dim=-1) @ self.weight.T
        if self.activation is not None:
            h = self.activation(h)
        return h + x if self.skip else h


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class HomogeneousNetwork:
    r"""A network in homogeneous coordinates: out = phi(W_L phi(... phi(W_1 [x, 1]))).

    Attributes:
        layers: The layers, first to last.
        flatten: Whether all axes of the input but the first are flattened.
    """

    layers: tuple[HomogeneousLayer, ...]
    flatten: bool

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """The matrices ``(outputs, inputs + 1)``, first to last."""
        return tuple(layer.weight for layer in self.layers)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the output for ``x``."""
        if self.flatten and x.ndim > 1:
            x = x.flatten(1)
        for layer in self.layers:
            x = layer(x)
        return x


@torch.no_grad()
def homogeneous(model: MLP | nn.Linear) -> HomogeneousNetwork:
    r"""Return the network with the bias of every layer as the last column of its weight.

    .. math:: W x + b = [W \; b] \, [x, 1]^\top

    Args:
        model: A network in eval mode, or one linear layer. For a missing bias the column is zero.
            Batch norm is merged into the weight with its running statistics; any other norm becomes
            part of the activation.

    Returns:
        A copy of the network, which shares no memory with it.

    Raises:
        TypeError: If ``model`` is neither an :class:`MLP` nor a linear layer.
        ValueError: If it is in training mode and has dropout or batch norm.

    Example:
        >>> import torch
        >>> from mlpkit.nn import MLP, homogeneous
        >>> model = MLP(6, (4, 3), 1)
        >>> network = homogeneous(model)
        >>> [tuple(weight.shape) for weight in network.weights]
        [(4, 7), (3, 5), (1, 4)]
        >>> x = torch.randn(5, 6)
        >>> torch.allclose(network(x), model(x), atol=1e-6)
        True
    """
    if isinstance(model, nn.Linear):
        only = HomogeneousLayer(
            weight=_homogeneous_weight(model, None), activation=None, skip=False
        )
        return HomogeneousNetwork(layers=(only,), flatten=False)
    _check_model(model, "an MLP or a torch.nn.Linear")
    layers = []
    for layer in model.layers:
        batch_norm = layer.norm if isinstance(layer.norm, nn.BatchNorm1d) else None
        steps = [layer.norm] if layer.norm is not None and batch_norm is None else []
        layers.append(
            HomogeneousLayer(
                weight=_homogeneous_weight(layer.linear, batch_norm),
                activation=_frozen_copy(*steps, layer.activation),
                skip=layer.skip,
            )
        )
    if model.head is not None:
        output = () if model.output_activation is None else (model.output_activation,)
        weight = _homogeneous_weight(model.head, None)
        layers.append(HomogeneousLayer(weight=weight, activation=_frozen_copy(*output), skip=False))
    return HomogeneousNetwork(layers=tuple(layers), flatten=model.flatten)


def _check_model(model: object, rule: str) -> None:
    """Raise unless ``model`` is an MLP in eval mode, as far as the mode matters."""
    if not isinstance(model, MLP):
        raise TypeError(error_message("model", rule, model))
    for module in model.modules():
        is_random = isinstance(module, nn.Dropout) and module.p > 0
        if module.training and (is_random or isinstance(module, nn.BatchNorm1d)):
            rule = "in eval mode if it has dropout or batch norm"
            raise ValueError(error_message("model", rule, type(module), "call model.eval() first"))


def _merged_with_norm(linear: nn.Linear, norm: nn.BatchNorm1d | None) -> _Affine:
    """Return a linear layer and the batch norm that follows it as one affine map."""
    tensors = {name: value.to("cpu", torch.float64) for name, value in linear.named_parameters()}
    weight = tensors["weight"]
    bias = tensors.get("bias", weight.new_zeros(linear.out_features))
    if norm is None:
        return _Affine(weight, bias)
    state = {name: value.to("cpu", torch.float64) for name, value in norm.state_dict().items()}
    scale = state["weight"] / (state["running_var"] + norm.eps).sqrt()
    return _Affine(scale[:, None] * weight, scale * (bias - state["running_mean"]) + state["bias"])


def _homogeneous_weight(linear: nn.Linear, norm: nn.BatchNorm1d | None) -> Tensor:
    """Return the matrix [W b], ``(outputs, inputs + 1)``, with the layer's dtype and device."""
    affine = _merged_with_norm(linear, norm)
    return torch.cat((affine.weight, affine.bias[:, None]), dim=1).to(linear.weight)


def _frozen_copy(*modules: nn.Module) -> nn.Module | None:
    """Return a copy of the modules as one module in eval mode; None if all are the identity."""
    modules = tuple(module for module in modules if not isinstance(module, nn.Identity))
    if not modules:
        return None
    copied = copy.deepcopy(modules[0] if len(modules) == 1 else nn.Sequential(*modules))
    return copied.eval().requires_grad_(requires_grad=False)
