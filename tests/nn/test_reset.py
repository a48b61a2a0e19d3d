"""Initialization and reset of the weights, against the stated scales and against torch."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from mlpkit.nn import (
    MLP,
    ActivationName,
    InitName,
    NormName,
    PReLU,
    layer_scale,
)


class Scaled(nn.Module):
    """A custom activation with a parameter that it cannot reset."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        """Scale the tanh."""
        scaled: Tensor = self.scale * x.tanh()
        return scaled


@pytest.mark.parametrize("activation", ["relu", "prelu", "maxout", "tanh", "swiglu"])
def test_auto_init_scales_each_layer_by_input_and_activation(
    activation: ActivationName,
) -> None:
    """The variance is t / (n q), t from the activation and q the second moment of the input."""
    model = MLP(400, (300, 200), 100, activation=activation)
    scale = layer_scale(activation)
    moments = [1.0, scale.second_moment, scale.second_moment]
    variances = [scale.preactivation_variance, scale.preactivation_variance, 1.0]
    assert model.head is not None
    linears = [*(layer.linear for layer in model.layers), model.head]
    for linear, moment, variance in zip(linears, moments, variances, strict=True):
        expected = math.sqrt(variance / (linear.in_features * moment))
        assert linear.weight.std().item() == pytest.approx(expected, rel=0.02)
        assert abs(linear.weight.mean().item()) < 4 * expected / math.sqrt(linear.weight.numel())
        assert not linear.bias.any()


@pytest.mark.parametrize("activation", ["relu", "prelu", "maxout", "tanh", "sigmoid"])
def test_auto_init_gives_logits_of_unit_second_moment(activation: ActivationName) -> None:
    """Through six layers, averaged over 20 initializations, for inputs of unit second moment."""
    moments = []
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        model = MLP(256, (256,) * 6, 256, activation=activation, generator=generator)
        with torch.no_grad():
            x = torch.randn(64, 256, generator=generator)
            moments.append(model(x).square().mean().item())
    assert sum(moments) / 20 == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize("activation", ["relu", "prelu", "maxout", "silu", "swiglu", "identity"])
@pytest.mark.parametrize("norm", [None, "layer"])
def test_residual_auto_init_stays_bounded(
    activation: ActivationName, norm: NormName | None
) -> None:
    """Docs/decisions/0003-residual.md: below e squared at any depth if f(0) is 0."""
    generator = torch.Generator().manual_seed(0)
    model = MLP(
        128,
        (128,) * 30,
        None,
        activation=activation,
        norm=norm,
        residual=True,
        generator=generator,
    )
    x = torch.randn(64, 128, generator=generator)
    with torch.no_grad():
        first = model.layers[0](x).square().mean().item()
        last = model(x).square().mean().item()
    assert 0.5 < last / first < math.e**2


@pytest.mark.parametrize("bias", [True, False])
def test_torch_init_is_that_of_torch(bias: bool) -> None:
    """The same bits as a stack of nn.Linear with the same seed."""
    torch.manual_seed(3)
    linears = [nn.Linear(6, 5, bias=bias), nn.Linear(5, 4, bias=bias), nn.Linear(4, 2, bias=bias)]
    expected = [parameter for linear in linears for parameter in linear.parameters()]
    torch.manual_seed(3)
    model = MLP(6, (5, 4), 2, init="torch", bias=bias)
    for found, wanted in zip(model.parameters(), expected, strict=True):
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("init", ["auto", "torch"])
def test_weights_come_from_the_generator_alone(init: InitName) -> None:
    """The same seed gives the same bits, and the global generator is not used."""
    before = torch.get_rng_state()
    one, two, other = (
        MLP(6, (5, 4), 2, init=init, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one.layers[0].linear.weight, other.layers[0].linear.weight)


@pytest.mark.parametrize("norm", [None, "batch", "layer", "rms"])
@pytest.mark.parametrize("init", ["auto", "torch"])
def test_reset_parameters_resets_everything(norm: NormName | None, init: InitName) -> None:
    """A changed network gets the same bits as a new one, running statistics included."""

    def build() -> MLP:
        return MLP(
            6,
            (5, 5, 5),
            2,
            activation=["prelu", nn.Sequential(nn.Tanh(), PReLU(init=0.5)), nn.PReLU(5, 0.1)],
            output_activation="prelu",
            norm=norm,
            residual=True,
            init=init,
            generator=torch.Generator().manual_seed(7),
        )

    model = build()
    for tensor in model.state_dict().values():
        tensor.fill_(9)
    model.reset_parameters(torch.Generator().manual_seed(7))
    fresh = build().state_dict()
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, fresh[key]), key


def test_reset_parameters_names_an_activation_that_cannot_be_reset() -> None:
    """The network can be built and called; only the reset needs the method."""
    model = MLP(6, (5, 5), 2, activation=["relu", Scaled()])
    assert model(torch.zeros(3, 6)).shape == (3, 2)
    message = (
        r"^layers.1.activation must be a module with a method reset_parameters\(\) to be reset"
    )
    with pytest.raises(TypeError, match=message):
        model.reset_parameters()
