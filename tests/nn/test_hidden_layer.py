"""HiddenLayer against its equation, and the list of hidden layers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mlpkit.nn import MLP, HiddenLayer, HiddenLayers, Maxout

F64 = torch.float64


def hidden_layer(
    in_features: int = 4,
    units: int = 4,
    *,
    p: float = 0.0,
    norm: nn.Module | None = None,
    activation: nn.Module | None = None,
    skip: bool = False,
    bias: bool = True,
) -> HiddenLayer:
    """Return a layer of ``units`` linear outputs, in float64."""
    return HiddenLayer(
        dropout=nn.Dropout(p),
        linear=nn.Linear(in_features, units, bias=bias),
        norm=norm,
        activation=nn.Tanh() if activation is None else activation,
        skip=skip,
    ).to(F64)


def by_hand(layer: HiddenLayer, x: Tensor, masked: Tensor) -> Tensor:
    """The equation for an input after dropout, with tanh or Maxout with two pieces."""
    z = masked @ layer.linear.weight.T + layer.linear.bias
    if layer.norm is not None:
        mean = z.mean(-1, keepdim=True)
        z = (z - mean) / ((z - mean).square().mean(-1, keepdim=True) + 1e-5).sqrt()
    pieces = z[..., 0::2], z[..., 1::2]
    h = torch.maximum(*pieces) if isinstance(layer.activation, Maxout) else z.tanh()
    return h + x if layer.skip else h


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_equals_its_equation(training: bool, normed: bool, pieces: int, skip: bool) -> None:
    """Dropout, linear, norm, activation, in this order; the skip adds the input before dropout."""
    units = 4 * pieces
    layer = hidden_layer(
        units=units,
        p=0.5,
        norm=nn.LayerNorm(units) if normed else None,
        activation=Maxout() if pieces == 2 else None,
        skip=skip,
    ).train(training)
    x = torch.randn(7, 4, dtype=F64)
    torch.manual_seed(1)
    masked = nn.functional.dropout(x, 0.5, training=training)
    assert torch.equal(masked, x) is not training
    torch.manual_seed(1)
    torch.testing.assert_close(layer(x), by_hand(layer, x, masked))


def test_a_skip_adds_the_input_before_dropout() -> None:
    """With zero weights and no bias, the output is the input."""
    layer = hidden_layer(p=0.999, activation=nn.ReLU(), skip=True, bias=False)
    layer.linear.weight.data.zero_()
    x = torch.randn(5, 4, dtype=F64)
    assert torch.equal(layer(x), x)


@pytest.mark.parametrize("norm", [None, nn.LayerNorm(4)])
def test_preactivation_is_the_input_of_the_activation(norm: nn.Module | None) -> None:
    """It is the output of the norm."""
    layer = hidden_layer(norm=norm, skip=True)
    seen: list[Tensor] = []
    layer.activation.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs))
    x = torch.randn(3, 4, dtype=F64)
    output = layer(x)
    assert torch.equal(layer.preactivation(x), seen[0])
    torch.testing.assert_close(output, seen[0].tanh() + x)


def test_out_features_is_the_width_after_the_activation() -> None:
    """Twelve linear outputs are four Maxout units with three pieces each."""
    layer = hidden_layer(6, 12, activation=Maxout(num_pieces=3))
    assert (layer.in_features, layer.out_features) == (6, 4)
    assert layer(torch.zeros(2, 6, dtype=F64)).shape == (2, layer.out_features)


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (hidden_layer(6, 5), "Linear(6, 5) -> Tanh()"),
        (hidden_layer(bias=False, p=0.25), "Dropout(0.25) -> Linear(4, 4, bias=False) -> Tanh()"),
        (
            hidden_layer(norm=nn.LayerNorm(4), activation=nn.PReLU(), skip=True),
            "Linear(4, 4) -> LayerNorm -> PReLU(num_parameters=1) (+ input)",
        ),
        (  # an activation of several lines is written in one
            hidden_layer(activation=nn.Sequential(nn.Tanh())),
            "Linear(4, 4) -> Sequential( (0): Tanh() )",
        ),
    ],
)
def test_repr_is_one_line_in_the_order_of_the_equation(layer: HiddenLayer, text: str) -> None:
    """Dropout with probability 0 and a missing norm are not shown."""
    assert repr(layer) == text


def test_the_repr_of_a_linear_layer_has_its_sizes_and_a_missing_bias() -> None:
    assert repr(MLP(3, (2,), 1).layers[0]) == "Linear(3, 2) -> ReLU()"
    assert repr(MLP(3, (2,), 1, bias=False).layers[0]) == "Linear(3, 2, bias=False) -> ReLU()"


def test_layers_are_a_typed_list() -> None:
    """Iteration, indexing and slicing give the hidden layers themselves."""
    model = MLP(6, (5, 4, 3), 2)
    assert [layer.in_features for layer in model.layers] == [6, 5, 4]
    assert model.layers[-1].out_features == 3
    assert all(isinstance(layer, HiddenLayer) for layer in model.layers)
    tail = model.layers[1:]
    assert isinstance(tail, HiddenLayers)
    assert [id(layer) for layer in tail] == [id(model.layers[1]), id(model.layers[2])]
