"""Networks as the lecture writes them: biases folded in, and without non-linearity one layer."""

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
    r"""Fold a network without non-linearity into the one linear layer that it is.

    .. math:: W_2 (W_1 x + b_1) + b_2 = (W_2 W_1) \, x + (W_2 b_1 + b_2)

    What may stand between the layers is affine itself: the identity, Maxout with one piece, batch
    norm by its running statistics, a skip. The product is taken in float64, and then cast to the
    dtype of the network.

    Args:
        model: A network in eval mode whose activations are the identity.

    Returns:
        A new layer that maps ``(*, in_features)`` as the network does. It shares nothing with the
        network, and has a bias whether or not the network has one.

    Raises:
        TypeError: If ``model`` is no :class:`MLP`.
        ValueError: If something in it is not affine, or it is in training mode and has dropout or
            batch norm.

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
            rule = "the identity for the network to be one affine map"
            cure = "a network with a non-linearity equals no single layer"
            raise ValueError(error_message(f"{name} of model", rule, activation, cure))
    features = model.in_features
    merged = _Affine(torch.eye(features, dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
    merged = merged._replace(bias=merged.bias.expand(features))
    for index, layer in enumerate(model.layers):
        if layer.norm is not None and not isinstance(layer.norm, nn.BatchNorm1d):
            rule = "None or batch norm for the network to be one affine map"
            cure = "its scale depends on the input"
            raise ValueError(error_message(f"layers.{index}.norm of model", rule, layer.norm, cure))
        own = _folded(layer.linear, layer.norm)
        after = _Affine(own.weight @ merged.weight, own.weight @ merged.bias + own.bias)
        if layer.skip:
            after = _Affine(after.weight + merged.weight, after.bias + merged.bias)
        merged = after
    if model.head is not None:
        own = _folded(model.head, None)
        merged = _Affine(own.weight @ merged.weight, own.weight @ merged.bias + own.bias)
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
    r"""One layer with its bias as the last column of its weights.

    .. math:: h = \phi(W_h \, [x, 1]^\top) \; (+ \; x)

    Attributes:
        weight: The matrix :math:`W_h = [W \; b]`, ``(outputs, inputs + 1)``.
        activation: The function :math:`\phi`, with the layer or RMS norm before it if the network
            has one; None for the identity.
        skip: Whether the input is added.
    """

    weight: Tensor = dataclasses.field(repr=False)
    activation: nn.Module | None
    skip: bool

    def __call__(self, x: Tensor) -> Tensor:
        """Return what the layer makes of ``x``, ``(*, inputs)`` without the 1."""
        one = x.new_ones((*x.shape[:-1], 1))
        h: Tensor = torch.cat((x, one), dim=-1) @ self.weight.T
        if self.activation is not None:
            h = self.activation(h)
        return h + x if self.skip else h


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class HomogeneousNetwork:
    r"""A network as products with matrices only: out = phi(W_L phi(... phi(W_1 [x, 1]))).

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
        """Return what the network makes of ``x``."""
        if self.flatten and x.ndim > 1:
            x = x.flatten(1)
        for layer in self.layers:
            x = layer(x)
        return x


@torch.no_grad()
def homogeneous(model: MLP | nn.Linear) -> HomogeneousNetwork:
    r"""Fold the bias of every linear layer into its weights, as the last column.

    .. math:: W x + b = [W \; b] \, [x, 1]^\top

    Args:
        model: A network in eval mode, or one linear layer. A bias that it does not have is a column
            of zeros. Batch norm is folded in by its running statistics, any other norm becomes a
            part of the activation.

    Returns:
        A picture of the network as it is now; later changes of the one do not touch the other.

    Raises:
        TypeError: If ``model`` is neither.
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
        only = HomogeneousLayer(weight=_joined(model, None), activation=None, skip=False)
        return HomogeneousNetwork(layers=(only,), flatten=False)
    _check_model(model, "an MLP or a torch.nn.Linear")
    layers = []
    for layer in model.layers:
        batch_norm = layer.norm if isinstance(layer.norm, nn.BatchNorm1d) else None
        steps = [layer.norm] if layer.norm is not None and batch_norm is None else []
        layers.append(
            HomogeneousLayer(
                weight=_joined(layer.linear, batch_norm),
                activation=_frozen(*steps, layer.activation),
                skip=layer.skip,
            )
        )
    if model.head is not None:
        output = () if model.output_activation is None else (model.output_activation,)
        weight = _joined(model.head, None)
        layers.append(HomogeneousLayer(weight=weight, activation=_frozen(*output), skip=False))
    return HomogeneousNetwork(layers=tuple(layers), flatten=model.flatten)


def _check_model(model: object, rule: str) -> None:
    """Raise unless ``model`` is an MLP that gives the same output each time."""
    if not isinstance(model, MLP):
        raise TypeError(error_message("model", rule, model))
    for module in model.modules():
        is_random = isinstance(module, nn.Dropout) and module.p > 0
        if module.training and (is_random or isinstance(module, nn.BatchNorm1d)):
            rule = "in eval mode where it has dropout or batch norm"
            raise ValueError(error_message("model", rule, type(module), "call model.eval() first"))


def _folded(linear: nn.Linear, norm: nn.BatchNorm1d | None) -> _Affine:
    """Return a linear layer with the batch norm that follows it."""
    tensors = {name: value.to("cpu", torch.float64) for name, value in linear.named_parameters()}
    weight = tensors["weight"]
    bias = tensors.get("bias", weight.new_zeros(linear.out_features))
    if norm is None:
        return _Affine(weight, bias)
    state = {name: value.to("cpu", torch.float64) for name, value in norm.state_dict().items()}
    scale = state["weight"] / (state["running_var"] + norm.eps).sqrt()
    return _Affine(scale[:, None] * weight, scale * (bias - state["running_mean"]) + state["bias"])


def _joined(linear: nn.Linear, norm: nn.BatchNorm1d | None) -> Tensor:
    """Return the matrix [W b] in the dtype and on the device of the layer."""
    affine = _folded(linear, norm)
    return torch.cat((affine.weight, affine.bias[:, None]), dim=1).to(linear.weight)


def _frozen(*steps: nn.Module) -> nn.Module | None:
    """Return a copy of the steps as one function, None where they do nothing."""
    steps = tuple(step for step in steps if not isinstance(step, nn.Identity))
    if not steps:
        return None
    copied = copy.deepcopy(steps[0] if len(steps) == 1 else nn.Sequential(*steps))
    return copied.eval().requires_grad_(requires_grad=False)
