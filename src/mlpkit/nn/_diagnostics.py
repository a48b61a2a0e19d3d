"""What a live network does to its values and gradients, layer by layer."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from mlpkit._checks import check_float, error_message
from mlpkit.nn._hidden_layer import HiddenLayer
from mlpkit.nn._mlp import MLP
from mlpkit.nn._summary import table
from mlpkit.nn.activations import expansion

__all__ = ["ActivationStatistics", "LayerStatistics", "activation_statistics"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LayerStatistics:
    r"""What one activation did with one batch.

    A *value* is what leaves one unit for one example, before a skip is added. Its *derivative* is
    the sum of :math:`|\partial h / \partial z|` over the pre-activations z of that unit: of one
    for an element-wise function, of k for Maxout.

    Attributes:
        name: Where the layer stands in the network.
        activation: What its activation is.
        mean: Mean of the values.
        std: Standard deviation of the values.
        second_moment: Mean square of the values.
        off_center: Distance of the values from being centerd at zero, the absolute mean over the
            root of the second moment: 0 for centerd values, 1 for a constant.
        saturated: Fraction of the values whose derivative is below the threshold, so that hardly
            any gradient goes through.
        dead: Fraction of the units whose derivative is 0 for every example, so that nothing in
            this batch changes the weights into them.
        gradient_gain: Root of the mean over values of the sum of
            :math:`(\partial h / \partial z)^2`: what the activation does to the size of a gradient
            on its way back. Below 1 it shrinks in every layer; a sigmoid's is at most 0.25.
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
    """What every hidden activation did with one batch; ``str`` makes a table of it.

    Attributes:
        layers: The hidden layers, first to last.
        num_examples: Examples in the batch.
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
    model: MLP, x: Tensor, *, threshold: float = 0.05
) -> ActivationStatistics:
    r"""Measure what every hidden activation does with a batch: values, saturation, gradients.

    The network runs in eval mode, and nothing in it changes. The derivatives come from autograd, so
    any activation can be measured whose pre-activations each feed one unit; for one that mixes
    units ``saturated`` and ``dead`` mean nothing.

    What is wrong with a sigmoid shows in three columns: ``off_center`` is near 1, so the gradients
    of all weights into one unit of the next layer have the same sign for an example;
    ``gradient_gain`` is at most 1/4, so gradients vanish with depth; and ``saturated`` grows with
    the size of the weights.

    Args:
        model: The network.
        x: A batch, as for the network itself, of at least one example.
        threshold: Derivative below which a value counts as saturated, above 0.

    Raises:
        TypeError: If ``model`` is no :class:`MLP`, or ``x`` no floating tensor.
        ValueError: If ``x`` is empty or does not have ``in_features`` features, or ``threshold``
            is not above 0.

    Example:
        >>> import torch
        >>> from mlpkit.nn import MLP, activation_statistics
        >>> generator = torch.Generator().manual_seed(0)
        >>> model = MLP(20, (50,), 2, activation="sigmoid", generator=generator)
        >>> statistics = activation_statistics(model, torch.randn(100, 20, generator=generator))
        >>> round(statistics.layers[0].mean, 1), statistics.layers[0].gradient_gain <= 0.25
        (0.5, True)

    References:
        LeCun, Bottou, Orr, Mueller (1998), Efficient BackProp, section 4.4: why outputs should be
        centerd. Glorot, Bengio (2010), Understanding the difficulty of training deep feedforward
        neural networks, section 3: saturation layer by layer.
    """
    if not isinstance(model, MLP):
        raise TypeError(error_message("model", "an MLP", model))
    limit = check_float("threshold", threshold, above=0.0)
    # Inside inference_mode no tensor could record what the derivatives need.
    with torch.inference_mode(mode=False), torch.no_grad(), _evaluating(model):
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

    With the outputs weighted by 1, 2, ... the derivative of their sum by a pre-activation is that
    of its own unit times the number of the unit, which tells the unit without knowing the layout.
    """
    width = layer.out_features
    # In float64 on the CPU the number of a unit survives the division, whatever the network is in.
    activation = copy.deepcopy(layer.activation).to("cpu", torch.float64)
    leaf = z.detach().to("cpu", torch.float64).requires_grad_()
    with torch.enable_grad():
        # Of a copy: a custom activation may work in place, which a leaf does not allow.
        values: Tensor = activation(leaf.clone())
        if not values.requires_grad:  # a step function: no derivative anywhere
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


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model in eval mode for a while, and every part back as it was."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
