"""One hidden layer against its equation, and the list of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mlpkit.nn import MLP, HiddenLayer, HiddenLayers, Maxout
from mlpkit.nn._hidden_layer import linear_repr

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
    """The equation, with the input as dropout leaves it: a layer norm, and tanh or two pieces."""
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
    """Dropout, linear, norm, activation in this order; the skip adds the input before dropout."""
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


def test_a_skip_carries_what_dropout_does_not_zero() -> None:
    """With every weight zero and no bias only the skip is left, and it is the whole input."""
    layer = hidden_layer(p=0.999, activation=nn.ReLU(), skip=True, bias=False)
    layer.linear.weight.data.zero_()
    x = torch.randn(5, 4, dtype=F64)
    assert torch.equal(layer(x), x)


@pytest.mark.parametrize("norm", [None, nn.LayerNorm(4)])
def test_preactivation_is_what_a_hook_on_the_activation_sees(norm: nn.Module | None) -> None:
    """After the norm, before the activation and the skip."""
    layer = hidden_layer(norm=norm, skip=True)
    seen: list[Tensor] = []
    layer.activation.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs))
    x = torch.randn(3, 4, dtype=F64)
    output = layer(x)
    assert torch.equal(layer.preactivation(x), seen[0])
    torch.testing.assert_close(output, seen[0].tanh() + x)


def test_its_width_is_that_of_what_leaves_it() -> None:
    """Twelve linear outputs in groups of three are four units."""
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
    """What does nothing is left out."""
    assert repr(layer) == text


def test_a_linear_layer_in_short_names_its_widths_and_a_missing_bias() -> None:
    assert linear_repr(nn.Linear(3, 2)) == "Linear(3, 2)"
    assert linear_repr(nn.Linear(3, 2, bias=False)) == "Linear(3, 2, bias=False)"


def test_layers_are_a_typed_list() -> None:
    """Iteration, indexing and slicing give the hidden layers themselves."""
    model = MLP(6, (5, 4, 3), 2)
    assert [layer.in_features for layer in model.layers] == [6, 5, 4]
    assert model.layers[-1].out_features == 3
    assert all(isinstance(layer, HiddenLayer) for layer in model.layers)
    tail = model.layers[1:]
    assert isinstance(tail, HiddenLayers)
    assert [id(layer) for layer in tail] == [id(model.layers[1]), id(model.layers[2])]
