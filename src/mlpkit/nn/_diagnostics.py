"""Statistics of the activations and their derivatives in a network, layer by layer."""

from __future__ import annotations

import copy
import dataclasses

import torch
from torch import Tensor

from mlpkit._checks import check_float, error_message
from mlpkit._devices import evaluation_mode
from mlpkit.nn._hidden_layer import HiddenLayer
from mlpkit.nn._input_errors import input_type_error
from mlpkit.nn._mlp import MLP
from mlpkit.nn._summary import table
from mlpkit.nn.activations import expansion
from mlpkit.nn.tabular import TabularMLP

__all__ = ["ActivationStatistics", "LayerStatistics", "activation_statistics"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LayerStatistics:
    r"""Statistics of the activation of one hidden layer for one batch.

    A *value* is the output of one unit for one example, before a skip connection. Its *derivative*
    is the sum of :math:`|\partial h / \partial z|` over the pre-activations z of that unit. An
    element-wise function has one pre-activation per unit, Maxout has k.

    Attributes:
        name: Name of the layer, such as ``layers.0``.
        activation: The repr of the activation.
        mean: Mean of the values.
        std: Standard deviation of the values.
        second_moment: Mean square of the values.
        off_center: Absolute mean divided by the root of the second moment: 0 for values with zero
            mean, 1 for a constant.
        saturated: Fraction of the values whose derivative is below the threshold; almost no
            gradient passes through them. For ReLU these are the outputs of 0, about half of all
            values with random weights.
        dead: Fraction of the units whose derivative is 0 for every example; this batch gives the
            weights of these units no gradient.
        gradient_gain: Root mean square of the derivative: the square root of the mean, over values,
            of the sum of :math:`(\partial h / \partial z)^2`. The factor by which the activation
            scales the norm of a gradient in the backward pass. For a sigmoid it is at most 0.25.
    """

    name: str
    activation: str
    mean: float
    std: float
    second_moment: float
    off_center: float
    saturated: float
    dead: float
    gradient_gain: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ActivationStatistics:
    """Statistics of all hidden activations for one batch; ``str`` formats them as a table.

    Attributes:
        layers: The statistics of the hidden layers, first to last.
        num_examples: Number of examples in the batch.
        threshold: Derivative below which a value counts as saturated.
    """

    layers: tuple[LayerStatistics, ...]
    num_examples: int
    threshold: float

    def __str__(self) -> str:
        columns = (
            "mean",
            "std",
            "second_moment",
            "off_center",
            "saturated",
            "dead",
            "gradient_gain",
        )
        rows = [
            (
                layer.name,
                layer.activation,
                *(f"{getattr(layer, column):.3f}" for column in columns),
            )
            for layer in self.layers
        ]
        return table([("layer", "activation", *columns), *rows], left=2)


def activation_statistics(
    model: MLP | TabularMLP, x: Tensor, *, threshold: float = 0.05
) -> ActivationStatistics:
    r"""Measure the outputs, the saturation and the derivatives of every hidden activation.

    The network runs in eval mode and is not changed. The derivatives are computed by autograd. Any
    activation can be measured in which each pre-activation affects one unit. If an activation mixes
    units, ``saturated`` and ``dead`` are meaningless.

    The weaknesses of a sigmoid are visible in three columns. ``off_center`` is near 1, so for one
    example the gradients of all weights of a unit in the next layer have the same sign.
    ``gradient_gain`` is at most 1/4, so gradients vanish with depth. ``saturated`` grows with the
    size of the weights.

    Args:
        model: The network.
        x: A batch of at least one example, as for ``model.forward``.
        threshold: Derivative below which a value counts as saturated, above 0.

    Raises:
        TypeError: If ``model`` is neither an :class:`MLP` nor a :class:`TabularMLP`, or ``x`` is
            not a floating tensor.
        ValueError: If ``x`` is empty, the size of its last axis is not ``in_features``, or
            ``threshold`` is not above 0.

    Example:
        >>> import torch
        >>> from mlpkit.nn import MLP, activation_statistics
        >>> generator = torch.Generator().manual_seed(0)
        >>> model = MLP(20, (50,), 2, activation="sigmoid", generator=generator)
        >>> statistics = activation_statistics(model, torch.randn(100, 20, generator=generator))
        >>> round(statistics.layers[0].mean, 1), statistics.layers[0].gradient_gain <= 0.25
        (0.5, True)

    References:
        LeCun, Bottou, Orr, Mueller (1998), Efficient BackProp, section 4.4: why outputs should have
        zero mean. Glorot, Bengio (2010), Understanding the difficulty of training deep feedforward
        neural networks, section 3: saturation layer by layer.
    """
    if isinstance(model, TabularMLP):
        given: object = x
        if not isinstance(given, Tensor):
            raise input_type_error(given, next(model.parameters()))
        with torch.inference_mode(mode=False), torch.no_grad():
            x = model.embedding(x.clone() if x.is_inference() else x)
        model = model.mlp
    if not isinstance(model, MLP):
        raise TypeError(error_message("model", "an MLP", model))
    limit = check_float("threshold", threshold, above=0.0)
    # Inference mode is left, since autograd does not work with inference tensors.
    with torch.inference_mode(mode=False), torch.no_grad(), evaluation_mode(model):
        h = model._validate_input(x)
        h = h.clone() if h.is_inference() else h
        if h.numel() == 0:
            raise ValueError(error_message("x", "a batch of at least one example", tuple(x.shape)))
        num_examples = h.numel() // model.in_features
        layers = []
        for index, layer in enumerate(model.layers):
            layers.append(_measured(f"layers.{index}", layer, layer.preactivation(h), limit))
            h = layer(h)
    return ActivationStatistics(layers=tuple(layers), num_examples=num_examples, threshold=limit)


def _measured(name: str, layer: HiddenLayer, z: Tensor, threshold: float) -> LayerStatistics:
    values, strength, energy = _derivatives(layer, z.reshape(-1, z.shape[-1]))
    second_moment = float(values.square().mean())
    mean = float(values.mean())
    return LayerStatistics(
        name=name,
        activation=" ".join(repr(layer.activation).split()),
        mean=mean,
        std=float(values.std(correction=0)),
        second_moment=second_moment,
        off_center=0.0 if second_moment == 0.0 else abs(mean) / second_moment**0.5,
        saturated=float((strength < threshold).double().mean()),
        dead=float((strength == 0).all(dim=0).double().mean()),
        gradient_gain=float(energy.mean().sqrt()),
    )


def _derivatives(layer: HiddenLayer, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return values, sums of absolute and of squared derivatives, each (examples, units).

    A pre-activation is assigned to its unit by a second derivative: if output u is weighted by u,
    the derivative of the sum is u times the derivative without weights. This works for any layout.
    """
    width = layer.out_features
    # float64 makes the quotient of the two derivatives round to the right unit.
    activation = copy.deepcopy(layer.activation).to("cpu", torch.float64)
    leaf = z.detach().to("cpu", torch.float64).requires_grad_()
    with torch.enable_grad():
        # A copy, since a custom activation may work in place, which autograd forbids for a leaf.
        values: Tensor = activation(leaf.clone())
        if not values.requires_grad:  # for instance a step function
            return values, torch.zeros_like(values), torch.zeros_like(values)
        number_of_unit = torch.arange(1, width + 1, dtype=torch.float64, device="cpu")
        (slope,) = torch.autograd.grad(values.sum(), leaf, retain_graph=True)
        (tagged,) = torch.autograd.grad((values * number_of_unit).sum(), leaf)
    values = values.detach()
    if expansion(layer.activation) == 1:
        return values, slope.abs(), slope.square()
    unit = (tagged / slope).nan_to_num(1.0).round().long().clamp(1, width) - 1
    empty = torch.zeros_like(values)
    strength = empty.scatter_add(1, unit, slope.abs())
    return values, strength, empty.scatter_add(1, unit, slope.square())
