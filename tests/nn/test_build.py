"""How an MLP is built: nothing is shared, its state_dict keys, its configuration and its repr."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mlpkit.nn import (
    MLP,
    Activation,
    ActivationConfig,
    ActivationName,
    Maxout,
    MLPConfig,
    PReLU,
)

F64 = torch.float64


class Scaled(nn.Module):
    """A custom activation with a parameter that it cannot reset."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        """Scale the tanh."""
        scaled: Tensor = self.scale * x.tanh()
        return scaled


# Layers share no modules and no parameters.


def instances() -> list[Activation | list[Activation]]:
    """Every way to pass one activation for three layers."""
    prelu, per_layer = PReLU(), nn.Sequential(PReLU(), nn.Tanh())
    return [
        "prelu",
        ActivationConfig("prelu"),
        prelu,
        nn.PReLU(),
        per_layer,
        [prelu, prelu, prelu],
        lambda width: PReLU(width),
    ]


@pytest.mark.parametrize("kind", range(7))
def test_no_two_layers_share_anything(kind: int) -> None:
    """No module and no parameter; and no module of the caller is used without a copy."""
    given = instances()[kind]
    model = MLP(6, (5, 5, 5), 2, activation=given, output_activation=PReLU())
    layers: list[nn.Module] = [*(layer.activation for layer in model.layers)]
    assert model.output_activation is not None
    layers.append(model.output_activation)
    modules = [id(part) for layer in layers for part in layer.modules()]
    parameters = [id(part) for layer in layers for part in layer.parameters()]
    assert len(set(modules)) == len(modules)
    assert len(set(parameters)) == len(parameters) == 4
    passed = given if isinstance(given, list) else [given]
    assert not {id(item) for item in passed} & set(modules)


def test_a_copied_instance_keeps_its_own_state() -> None:
    """An instance is a template: every layer starts with its slope, and it is not trained."""
    template = PReLU(init=0.1)
    model = MLP(6, (5, 5), 2, activation=template)
    for layer in model.layers:
        weight = layer.activation.get_parameter("weight")
        assert weight.item() == pytest.approx(0.1)
        weight.data.fill_(9.0)
    assert template.weight.item() == pytest.approx(0.1)


def shared_module() -> Callable[[int], nn.Module]:
    """A factory that always returns the same module."""
    shared = PReLU()
    return lambda _: shared


def shared_parameter() -> Callable[[int], nn.Module]:
    """A factory that returns new modules with the same parameter."""
    weight = nn.Parameter(torch.zeros(1))

    def build(width: int) -> nn.Module:
        module = PReLU()
        module.weight = weight
        return module

    return build


@pytest.mark.parametrize(
    ("factory", "what"), [(shared_module(), "module"), (shared_parameter(), "tensor")]
)
def test_a_factory_that_shares_is_refused(factory: Callable[[int], nn.Module], what: str) -> None:
    """The message names the layers."""
    message = (
        "^activation must be a factory that returns a new module for each layer, got .*; "
        f"layers.0.activation and layers.2.activation share a {what}; build a new one in each call"
    )
    with pytest.raises(ValueError, match=message):
        MLP(6, (5, 4, 3), 2, activation=[factory, "relu", factory])


def test_a_factory_is_called_once_for_each_layer_with_its_width() -> None:
    """The width is the output width of the layer, without expansion."""
    seen: list[int] = []

    def build(width: int) -> nn.Module:
        seen.append(width)
        return Maxout(num_pieces=3)

    model = MLP(6, (5, 4), 2, activation=build)
    assert seen == [5, 4]
    assert [layer.linear.out_features for layer in model.layers] == [15, 12]
    assert [layer.out_features for layer in model.layers] == [5, 4]


def test_the_lists_of_the_caller_are_copied() -> None:
    """Changing them afterwards does not change the network."""
    hidden, dropout = [5, 4], [0.1, 0.2]
    names: list[ActivationName] = ["relu", "tanh"]
    model = MLP(6, hidden, 2, dropout=dropout, activation=names)
    hidden.append(3)
    dropout.clear()
    names[0] = "sigmoid"
    assert model.hidden_features == (5, 4)
    assert model.config == MLPConfig(
        in_features=6,
        hidden_features=(5, 4),
        out_features=2,
        dropout=(0.1, 0.2),
        activation=("relu", "tanh"),
    )


def test_each_layer_may_have_its_own_activation() -> None:
    """A width is the output width of the layer, whatever the expansion of its activation."""
    chosen: list[Activation] = ["relu", ActivationConfig("maxout", num_pieces=3), nn.Tanh()]
    model = MLP(6, (5, 4, 3), 2, activation=chosen, dtype=F64)
    state = model.state_dict()
    x = torch.randn(7, 6, dtype=F64)

    def affine(index: int, h: Tensor) -> Tensor:
        name = f"layers.{index}.linear."
        z: Tensor = h @ state[name + "weight"].T + state[name + "bias"]
        return z

    h = affine(0, x).clamp(min=0)
    z = affine(1, h)
    h = torch.stack([z[:, 3 * unit : 3 * unit + 3].max(1).values for unit in range(4)], dim=1)
    h = affine(2, h).tanh()
    expected = h @ state["head.weight"].T + state["head.bias"]
    torch.testing.assert_close(model(x), expected)


# state_dict


def keys(**options: object) -> set[str]:
    """The keys of a network of two hidden layers."""
    untyped: Callable[..., MLP] = MLP
    return set(untyped(6, (5, 5), 2, **options).state_dict())


def test_state_dict_keys_are_frozen() -> None:
    """They are part of the file format."""
    model = MLP(6, (5, 4), 2, activation="prelu", norm="batch", output_activation="prelu")
    linear = ["linear.weight", "linear.bias"]
    norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    of_layer = [*linear, *(f"norm.{name}" for name in norm), "activation.weight"]
    assert set(model.state_dict()) == {
        *(f"layers.{index}.{name}" for index in (0, 1) for name in of_layer),
        "head.weight",
        "head.bias",
        "output_activation.weight",
    }


@pytest.mark.parametrize(
    "options",
    [
        {"dropout": 0.5, "input_dropout": 0.2},
        {"dropout": [0.1, 0.0]},
        {"residual": True},
        {"init": "torch"},
        {"max_norm": 2.0},
        {"flatten": True},
        {"activation": "maxout"},
        {"activation": ["swiglu", nn.Tanh()]},
        {"output_activation": "sigmoid"},
        {"dtype": F64},
    ],
)
def test_options_without_tensors_leave_the_keys_as_they_are(options: dict[str, object]) -> None:
    """An option may add tensors, but it never renames one."""
    assert keys(**options) == keys()


@pytest.mark.parametrize(
    ("options", "added"),
    [
        ({"norm": "layer"}, {"norm.weight", "norm.bias"}),
        ({"norm": "rms"}, {"norm.weight"}),
        ({"activation": "prelu"}, {"activation.weight"}),
    ],
)
def test_options_with_tensors_only_add_keys(options: dict[str, object], added: set[str]) -> None:
    """All other tensors keep their keys."""
    assert keys(**options) - keys() == {f"layers.{i}.{name}" for i in (0, 1) for name in added}
    assert keys() <= keys(**options)
    assert keys(bias=False) == {key for key in keys() if not key.endswith("bias")}


# Configuration and repr


def test_config_of_a_network_builds_an_equal_network() -> None:
    """It equals the given configuration, and builds a network with the same state_dict."""
    config = MLPConfig(
        in_features=6,
        hidden_features=(5, 5),
        out_features=3,
        activation=("relu", ActivationConfig("maxout", num_pieces=3)),
        output_activation="sigmoid",
        norm="layer",
        dropout=(0.1, 0.2),
        input_dropout=0.3,
        bias=False,
        residual=True,
        init="torch",
        max_norm=2.0,
        flatten=True,
    )
    model = MLP.from_config(config, generator=torch.Generator().manual_seed(1))
    assert model.config == config
    twin = MLP.from_config(model.config, generator=torch.Generator().manual_seed(1))
    for key, tensor in model.state_dict().items():
        assert torch.equal(twin.state_dict()[key], tensor)
    assert repr(twin) == repr(model)


def test_config_names_the_instances_that_have_a_name() -> None:
    """One for all layers if they are equal, else one for each layer."""
    alike = MLP(6, (5, 4), 2, activation=nn.LeakyReLU(0.2), output_activation=nn.Sigmoid())
    assert alike.config.activation == ActivationConfig("leaky_relu", negative_slope=0.2)
    assert alike.config.output_activation == ActivationConfig("sigmoid")
    mixed = MLP(6, (5, 4), 2, activation=["relu", nn.Tanh()])
    assert mixed.config.activation == (ActivationConfig("relu"), ActivationConfig("tanh"))


def test_config_of_a_custom_activation_raises() -> None:
    """Its class has no name, and the message says what to do."""
    model = MLP(6, (5,), 2, activation=Scaled())
    with pytest.raises(ValueError, match=r"^activation must be one of .*got Scaled\(\); build the"):
        _ = model.config


def test_from_config_of_a_subclass_is_of_the_subclass() -> None:
    """A project can extend MLP."""

    class Mine(MLP):
        pass

    config = MLPConfig(in_features=6, hidden_features=(), out_features=1)
    assert type(Mine.from_config(config)) is Mine


def test_repr_shows_widths_and_options() -> None:
    """Only options that differ from their defaults are shown; each layer has one line."""
    model = MLP(6, (5, 5), 2, norm="batch", dropout=0.5, residual=True, bias=False)
    lines = repr(model).splitlines()
    assert lines[1] == "  6, (5, 5), 2, norm='batch', dropout=0.5, bias=False, residual=True"
    assert lines[3] == "    (0): Linear(6, 5, bias=False) -> BatchNorm -> ReLU()"
    assert lines[4] == (
        "    (1): Dropout(0.5) -> Linear(5, 5, bias=False) -> BatchNorm -> ReLU() (+ input)"
    )


@pytest.mark.parametrize(
    "build",
    [
        lambda: MLP(64, (10**18,), 10),
        lambda: MLP(10**25, (), 10),
        lambda: MLP(64, (4,), 10**25),
        lambda: MLP(64, (10**25,), 10, activation=ActivationConfig(name="prelu", per_unit=True)),
        lambda: MLP(64, (4,), 10, activation=ActivationConfig(name="maxout", num_pieces=10**20)),
    ],
    ids=["hidden", "inputs", "outputs", "slopes", "pieces"],
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_widths_that_no_tensor_can_have_are_refused(build: Callable[[], MLP], device: str) -> None:
    """Torch would raise an error about overflow with the frames of its own stack."""
    rule = r"^hidden_features must be widths for which every weight has fewer than 2\*\*60 elements"
    with torch.device(device), pytest.raises(ValueError, match=rule):
        build()
