"""MLP against plain matrix products, in value and in gradient, at every depth and rank."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn

from mlpkit.nn import (
    MLP,
    Activation,
    ActivationConfig,
    ActivationName,
    HiddenLayer,
    InitName,
    Maxout,
    MLPConfig,
    NormName,
    PReLU,
    layer_scale,
)

F64 = torch.float64
HIDDEN = [(), (5,), (5, 4, 3)]
SHAPES = [(6,), (7, 6), (2, 3, 6), (2, 1, 3, 6)]

Oracle = Callable[[Tensor, Tensor | None], Tensor]


def oracle_swiglu(z: Tensor, _: Tensor | None) -> Tensor:
    """Value times gate times the sigmoid of the gate, by slices."""
    half = z.shape[-1] // 2
    return z[..., :half] * z[..., half:] / (1 + torch.exp(-z[..., half:]))


def oracle_prelu(z: Tensor, slope: Tensor | None) -> Tensor:
    """The two branches, by a choice."""
    assert slope is not None
    return torch.where(z > 0, z, slope * z)


ORACLES: dict[ActivationName, Oracle] = {
    "identity": lambda z, _: z,
    "relu": lambda z, _: torch.where(z > 0, z, 0 * z),
    "tanh": lambda z, _: (z.exp() - (-z).exp()) / (z.exp() + (-z).exp()),
    "sigmoid": lambda z, _: 1 / (1 + (-z).exp()),
    "prelu": oracle_prelu,
    "maxout": lambda z, _: torch.maximum(z[..., 0::2], z[..., 1::2]),
    "swiglu": oracle_swiglu,
}


def oracle_norm(
    kind: NormName, z: Tensor, state: Mapping[str, Tensor], *, training: bool
) -> Tensor:
    """The three norms of the last axis, by their equations."""
    if kind == "rms":
        eps = torch.finfo(z.dtype).eps
        return state["weight"] * z / (z.square().mean(-1, keepdim=True) + eps).sqrt()
    if kind == "layer":
        mean = z.mean(-1, keepdim=True)
        variance = (z - mean).square().mean(-1, keepdim=True)
    elif training:
        axes = tuple(range(z.ndim - 1))
        mean = z.mean(axes)
        variance = (z - mean).square().mean(axes)
    else:
        mean, variance = state["running_mean"], state["running_var"]
    return state["weight"] * (z - mean) / (variance + 1e-5).sqrt() + state["bias"]


def oracle_mlp(
    state: Mapping[str, Tensor],
    x: Tensor,
    depth: int,
    activation: ActivationName,
    *,
    norm: NormName | None = None,
    training: bool = False,
    residual: bool = False,
    output: ActivationName = "identity",
) -> Tensor:
    """A multilayer perceptron of plain matrix products on the entries of a state_dict."""
    h = x
    for index in range(depth):
        prefix = f"layers.{index}."
        z = h @ state[prefix + "linear.weight"].T + state[prefix + "linear.bias"]
        if norm is not None:
            own = {key.removeprefix(prefix + "norm."): value for key, value in state.items()}
            z = oracle_norm(norm, z, own, training=training)
        after = ORACLES[activation](z, state.get(prefix + "activation.weight"))
        h = after + h if residual and index > 0 else after
    if "head.weight" in state:
        y = h @ state["head.weight"].T + state["head.bias"]
        return ORACLES[output](y, state.get("output_activation.weight"))
    return h


def random_state(model: nn.Module) -> None:
    """Fill every parameter and every floating buffer, so that none is 0 or 1 by its start."""
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if tensor.is_floating_point():
                tensor.uniform_(-0.8, 1.2)
            if name.endswith("running_var"):
                tensor.abs_()


def assert_equals_oracle(
    model: MLP, x: Tensor, oracle: Callable[[Mapping[str, Tensor], Tensor], Tensor]
) -> None:
    """Compare the output, and the gradient by the input and by every parameter."""
    state = {key: value.detach().clone() for key, value in model.state_dict().items()}
    leaves = {key: state[key].requires_grad_() for key, _ in model.named_parameters()}
    leaves["x"] = x.detach().clone().requires_grad_()
    inputs = list(leaves.values())
    expected = oracle(state, leaves["x"])
    weights = torch.randn_like(expected)
    gradients = torch.autograd.grad((expected * weights).sum(), inputs)
    wanted = dict(zip(leaves, gradients, strict=True))
    own = x.detach().clone().requires_grad_()
    output = model(own)
    torch.autograd.backward((output * weights).sum())
    torch.testing.assert_close(output, expected, rtol=1e-10, atol=1e-12)
    assert own.grad is not None
    torch.testing.assert_close(own.grad, wanted["x"], rtol=1e-9, atol=1e-11)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        torch.testing.assert_close(parameter.grad, wanted[name], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("hidden", HIDDEN, ids=len)
@pytest.mark.parametrize("shape", SHAPES, ids=len)
@pytest.mark.parametrize("activation", ORACLES)
def test_equals_matrix_products(
    hidden: tuple[int, ...], shape: tuple[int, ...], activation: ActivationName
) -> None:
    """Value and gradients, for every depth, rank and kind of activation."""
    model = MLP(6, hidden, 4, activation=activation, dtype=F64)
    random_state(model)
    assert_equals_oracle(
        model,
        torch.randn(shape, dtype=F64),
        lambda state, x: oracle_mlp(state, x, len(hidden), activation),
    )


@pytest.mark.parametrize("hidden", HIDDEN, ids=len)
@pytest.mark.parametrize("shape", SHAPES[1:], ids=len)
@pytest.mark.parametrize("norm", ["batch", "layer", "rms"])
@pytest.mark.parametrize("training", [True, False])
def test_norms_act_on_the_last_axis(
    hidden: tuple[int, ...], shape: tuple[int, ...], norm: NormName, training: bool
) -> None:
    """All axes before the last are examples; three features in axis 1 must not fool batch norm."""
    model = MLP(6, hidden, 4, activation="tanh", norm=norm, dtype=F64).train(training)
    random_state(model)
    assert_equals_oracle(
        model,
        torch.randn(shape, dtype=F64),
        lambda state, x: oracle_mlp(state, x, len(hidden), "tanh", norm=norm, training=training),
    )


@pytest.mark.parametrize("hidden", [(), (5,), (5, 5, 5)], ids=len)
@pytest.mark.parametrize("shape", SHAPES, ids=len)
@pytest.mark.parametrize("activation", ["relu", "maxout"])
@pytest.mark.parametrize("norm", [None, "layer"])
def test_residual_skips_every_hidden_layer_but_the_first(
    hidden: tuple[int, ...],
    shape: tuple[int, ...],
    activation: ActivationName,
    norm: NormName | None,
) -> None:
    """The input of a layer is added to what leaves its activation."""
    model = MLP(6, hidden, 4, activation=activation, norm=norm, residual=True, dtype=F64)
    random_state(model)
    assert_equals_oracle(
        model,
        torch.randn(shape, dtype=F64),
        lambda state, x: oracle_mlp(state, x, len(hidden), activation, norm=norm, residual=True),
    )


def test_the_first_layer_has_no_skip_even_where_the_widths_agree() -> None:
    """The rule counts layers and does not look at in_features."""
    model = MLP(5, (5,), 2, residual=True)
    assert [layer.skip for layer in model.layers] == [False]


@pytest.mark.parametrize("hidden", HIDDEN, ids=len)
@pytest.mark.parametrize("shape", SHAPES, ids=len)
@pytest.mark.parametrize("output", ["sigmoid", "prelu", "maxout"])
def test_output_activation_at_every_depth(
    hidden: tuple[int, ...], shape: tuple[int, ...], output: ActivationName
) -> None:
    """It acts on what leaves the head, without hidden layers too, and may widen the head."""
    model = MLP(6, hidden, 4, output_activation=output, dtype=F64)
    random_state(model)
    assert model(torch.zeros(6, dtype=F64)).shape == (4,)
    assert_equals_oracle(
        model,
        torch.randn(shape, dtype=F64),
        lambda state, x: oracle_mlp(state, x, len(hidden), "relu", output=output),
    )


@pytest.mark.parametrize("hidden", HIDDEN, ids=len)
@pytest.mark.parametrize("shape", SHAPES, ids=len)
def test_backbone_returns_what_leaves_the_last_hidden_layer(
    hidden: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    """Without a head the output is that of features, for a linear model the input itself."""
    model = MLP(6, hidden, None, activation="tanh", dtype=F64)
    x = torch.randn(shape, dtype=F64)
    expected = oracle_mlp(model.state_dict(), x, len(hidden), "tanh")
    torch.testing.assert_close(model(x), expected)
    torch.testing.assert_close(model.features(x), expected)
    assert not [key for key in model.state_dict() if key.startswith("head")]


@pytest.mark.parametrize("hidden", HIDDEN, ids=len)
def test_features_is_what_enters_the_head(hidden: tuple[int, ...]) -> None:
    """The head of the features is the output."""
    model = MLP(6, hidden, 4, dtype=F64)
    x = torch.randn(7, 6, dtype=F64)
    state = model.state_dict()
    by_hand = model.features(x) @ state["head.weight"].T + state["head.bias"]
    torch.testing.assert_close(by_hand, model(x))


@pytest.mark.parametrize(
    ("hidden", "activation", "norm", "residual"),
    [
        ((), "relu", None, False),
        ((5,), "prelu", "batch", False),
        ((3, 3, 3), "maxout", None, True),
        ((3, 4, 2), "swiglu", "layer", False),
        ((3, 3, 3), "prelu", "rms", True),
    ],
)
def test_gradients_agree_with_finite_differences(
    hidden: tuple[int, ...], activation: ActivationName, norm: NormName | None, residual: bool
) -> None:
    """By the input and by all parameters at once, in float64."""
    model = MLP(3, hidden, 2, activation=activation, norm=norm, residual=residual, dtype=F64).eval()
    random_state(model)
    names = [name for name, _ in model.named_parameters()]

    def run(x: Tensor, *parameters: Tensor) -> Tensor:
        given = dict(zip(names, parameters, strict=True))
        output: Tensor = torch.func.functional_call(model, given, (x,))
        return output

    inputs = (torch.randn(4, 3, dtype=F64), *(p.detach().clone() for p in model.parameters()))
    assert torch.autograd.gradcheck(run, [part.requires_grad_() for part in inputs])


# What the lecture says.


def test_6_4_3_1_has_47_parameters() -> None:
    """7 * 4 + 5 * 3 + 4 * 1."""
    assert MLP(6, [4, 3], 1).num_parameters == 7 * 4 + 5 * 3 + 4 * 1 == 47


def test_softmax_and_cross_entropy_of_the_lecture() -> None:
    """Logits 1.2, 5.1, 2.7: probabilities 0.018, 0.90, 0.08, and the loss of the second class."""
    scores = [1.2, 5.1, 2.7]
    model = MLP(3, (), 3)
    assert model.head is not None
    with torch.no_grad():
        model.head.weight.copy_(torch.eye(3))
    logits = model(torch.tensor(scores))
    total = sum(math.exp(score) for score in scores)
    probabilities = [math.exp(score) / total for score in scores]
    assert [round(p, 3) for p in probabilities] == [0.018, 0.9, 0.082]
    torch.testing.assert_close(logits.softmax(-1), torch.tensor(probabilities))
    loss = nn.functional.cross_entropy(logits[None], torch.tensor([1]))
    one_hot = nn.functional.cross_entropy(logits[None], torch.tensor([[0.0, 1.0, 0.0]]))
    assert loss.item() == pytest.approx(-math.log(probabilities[1]), rel=1e-6)
    assert one_hot.item() == pytest.approx(loss.item(), rel=1e-6)
    assert loss.item() == pytest.approx(0.105224, abs=5e-7)


# Dropout: on the inputs of linear layers, one entry for each hidden layer, never after the output.


def test_dropout_entries_belong_to_the_units_that_they_zero() -> None:
    """The entry of a hidden layer sits on the input of the next linear layer, hidden or head."""
    model = MLP(6, (5, 4, 3), 2, dropout=[0.1, 0.2, 0.3], input_dropout=0.4)
    assert [layer.dropout.p for layer in model.layers] == [0.4, 0.1, 0.2]
    assert model.head_dropout.p == 0.3


def test_one_dropout_is_that_of_every_hidden_layer() -> None:
    """The Maxout recipe: 0.2 on the input, 0.5 before the second layer and before the head."""
    model = MLP(784, (240, 240), 10, activation="maxout", dropout=0.5, input_dropout=0.2)
    assert [layer.dropout.p for layer in model.layers] == [0.2, 0.5]
    assert model.head_dropout.p == 0.5
    linear = MLP(6, (), 2, dropout=0.5, input_dropout=0.2)
    assert linear.head_dropout.p == 0.2


def test_nothing_is_dropped_after_the_output() -> None:
    """Neither after a head nor after a backbone: only inputs of linear layers are zeroed."""
    torch.manual_seed(1)
    backbone = MLP(6, (50,), None, activation="identity", dropout=0.9)
    x = torch.randn(20, 6)
    torch.testing.assert_close(backbone(x), backbone.eval()(x))
    for output in (None, "sigmoid"):
        model = MLP(6, (50,), 40, activation="sigmoid", output_activation=output, dropout=0.9)
        assert not (model(x) == 0).any()


def test_dropout_masks_what_enters_each_linear_layer() -> None:
    """With the masks taken from hooks, training mode equals matrix products on masked values."""
    model = MLP(6, (5, 5), 3, activation="tanh", dropout=[0.5, 0.25], input_dropout=0.2, dtype=F64)
    random_state(model)  # a bias of 0 would give values of 0, which tell nothing about a mask
    masks: list[Tensor] = []

    def keep_mask(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        masks.append(output / inputs[0])

    for dropout in (*(layer.dropout for layer in model.layers), model.head_dropout):
        dropout.register_forward_hook(keep_mask)
    x = torch.randn(40, 6, dtype=F64)
    output = model(x)
    state = model.state_dict()
    h = x
    for index in range(2):
        name = f"layers.{index}.linear."
        h = ((h * masks[index]) @ state[name + "weight"].T + state[name + "bias"]).tanh()
    expected = (h * masks[2]) @ state["head.weight"].T + state["head.bias"]
    torch.testing.assert_close(output, expected)
    for mask, p in zip(masks, (0.2, 0.5, 0.25), strict=True):
        values = {round(value, 6) for value in mask.flatten().tolist()}
        assert values == {0.0, round(1 / (1 - p), 6)}


def test_a_skip_carries_what_dropout_does_not_zero() -> None:
    """The skip starts before dropout."""
    model = MLP(6, (5, 5), None, dropout=[0.999, 0.0], residual=True, init="torch", bias=False)
    x = torch.randn(4, 6)
    model.layers[1].linear.weight.data.zero_()
    torch.testing.assert_close(model(x), model.layers[0](x))


# Nothing is shared, nothing is aliased.


def instances() -> list[Activation | list[Activation]]:
    """Every way to pass one thing for three layers."""
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
    """Not a module, not a parameter; and nothing that was passed in is used itself."""
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
    """An instance is a template: its slope is the start of every layer, and is not trained."""
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
    """A factory of fresh modules around one parameter."""
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
        "^activation must be a factory that returns a fresh module for each layer, got .*; "
        f"layers.0.activation and layers.2.activation share a {what}; build a new one in each call"
    )
    with pytest.raises(ValueError, match=message):
        MLP(6, (5, 4, 3), 2, activation=[factory, "relu", factory])


def test_a_factory_is_called_once_for_each_layer_with_its_width() -> None:
    """The width is what leaves the layer, before any expansion."""
    seen: list[int] = []

    def build(width: int) -> nn.Module:
        seen.append(width)
        return Maxout(num_pieces=3)

    model = MLP(6, (5, 4), 2, activation=build)
    assert seen == [5, 4]
    assert [layer.linear.out_features for layer in model.layers] == [15, 12]
    assert [layer.out_features for layer in model.layers] == [5, 4]


def test_the_lists_of_the_caller_are_copied() -> None:
    """Changing them afterwards changes nothing."""
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
    """A width always means what leaves the layer, whatever its activation takes."""
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
    """They are a file format."""
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
    """An option may add tensors of its own; it never renames one."""
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
    """What was there keeps its key."""
    assert keys(**options) - keys() == {f"layers.{i}.{name}" for i in (0, 1) for name in added}
    assert keys() <= keys(**options)
    assert keys(bias=False) == {key for key in keys() if not key.endswith("bias")}


# Weights: how they start, start anew, stay small, decay.


@pytest.mark.parametrize("activation", ["relu", "prelu", "maxout", "tanh", "swiglu"])
def test_auto_init_draws_each_layer_for_what_surrounds_it(activation: ActivationName) -> None:
    """Variance t / (n q): t as the activation wants it, q the second moment of what comes in."""
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
    """Through six layers, averaged over 20 initialisations, for inputs of unit second moment."""
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
    """Docs/decisions/0003-residual.md: below e squared, however deep, where f(0) is 0."""
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
    """Bit for bit the numbers that a stack of nn.Linear draws from the same seed."""
    torch.manual_seed(3)
    linears = [nn.Linear(6, 5, bias=bias), nn.Linear(5, 4, bias=bias), nn.Linear(4, 2, bias=bias)]
    expected = [parameter for linear in linears for parameter in linear.parameters()]
    torch.manual_seed(3)
    model = MLP(6, (5, 4), 2, init="torch", bias=bias)
    for found, wanted in zip(model.parameters(), expected, strict=True):
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("init", ["auto", "torch"])
def test_weights_come_from_the_generator_alone(init: InitName) -> None:
    """The same seed gives the same bits, and the global generator is not touched."""
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
    """After it, a spoilt network has every bit of a fresh one, running statistics included."""

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


class Scaled(nn.Module):
    """A custom activation with a parameter that it cannot reset."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        """Scale the tanh."""
        scaled: Tensor = self.scale * x.tanh()
        return scaled


def test_reset_parameters_says_which_activation_cannot_be_reset() -> None:
    """It builds and runs; only starting anew asks for the method."""
    model = MLP(6, (5, 5), 2, activation=["relu", Scaled()])
    assert model(torch.zeros(3, 6)).shape == (3, 2)
    message = (
        r"^layers.1.activation must be a module with a method reset_parameters\(\) to be reset"
    )
    with pytest.raises(TypeError, match=message):
        model.reset_parameters()


@pytest.mark.parametrize("activation", ["relu", "maxout"])
def test_max_norm_bounds_the_weights_into_each_linear_output(activation: ActivationName) -> None:
    """Rows that are too long are scaled to it, each piece alone; the rest is untouched."""
    model = MLP(6, (5, 4), 3, activation=activation, max_norm=1.6, dtype=F64)
    random_state(model)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model(torch.randn(3, 6, dtype=F64))
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), "forward must not project"
    model.apply_max_norm_()
    shortened = kept = 0
    for key, value in model.state_dict().items():
        if not key.endswith("weight"):
            assert torch.equal(value, before[key])
            continue
        for row, old in zip(value, before[key], strict=True):
            length = math.sqrt(sum(entry**2 for entry in old.tolist()))
            if length > 1.6:
                torch.testing.assert_close(row, old * (1.6 / length), rtol=1e-6, atol=0)
                shortened += 1
            else:
                assert torch.equal(row, old)
                kept += 1
    assert shortened > 0
    assert kept > 0


def test_without_max_norm_nothing_is_projected() -> None:
    """None means no limit."""
    model = MLP(6, (5,), 3)
    model.layers[0].linear.weight.data.fill_(100.0)
    model.apply_max_norm_()
    assert model.max_norm is None
    assert model.layers[0].linear.weight.eq(100.0).all()


def test_only_weights_of_linear_layers_decay() -> None:
    """By role: the slopes of a PReLU, norms and biases are in the group that does not decay."""
    model = MLP(6, (5, 4), 2, activation="prelu", norm="layer", output_activation="prelu")
    decayed, others = model.param_groups(weight_decay=0.1)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert decayed["weight_decay"] == 0.1
    assert others["weight_decay"] == 0.0
    assert isinstance(decayed["params"], list)
    assert isinstance(others["params"], list)
    assert [names[id(found)] for found in decayed["params"]] == [
        "layers.0.linear.weight",
        "layers.1.linear.weight",
        "head.weight",
    ]
    assert {names[id(found)] for found in others["params"]} == set(names.values()) - {
        "layers.0.linear.weight",
        "layers.1.linear.weight",
        "head.weight",
    }


def test_a_step_of_sgd_decays_the_weights_and_not_the_slopes() -> None:
    """With a gradient of zero only decay moves a parameter: by the factor 1 - lr * decay."""
    model = MLP(6, (5,), 2, activation="prelu", norm="layer")
    random_state(model)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.SGD(model.param_groups(weight_decay=0.5), lr=0.1)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        factor = 0.95 if name in ("layers.0.linear.weight", "head.weight") else 1.0
        torch.testing.assert_close(parameter.detach(), factor * before[name])


def test_no_group_is_empty() -> None:
    """Some optimisers refuse an empty one."""
    assert len(MLP(6, (5,), 2, bias=False).param_groups(0.1)) == 1
    assert MLP(6, (), None).param_groups(0.1) == []


# Inputs


@pytest.mark.parametrize("shape", [(2, 1, 2, 3), (2, 2, 3), (2, 6), (6,), (1, 1, 2, 3), (0, 2, 3)])
def test_flatten_takes_all_axes_but_the_first_as_features(shape: tuple[int, ...]) -> None:
    """What comes out does not depend on an axis happening to have size 1."""
    model = MLP(6, (5,), 4, flatten=True)
    x = torch.randn(shape)
    flat = x if len(shape) == 1 else x.reshape(shape[0], 6)
    expected = oracle_mlp(model.state_dict(), flat, 1, "relu")
    torch.testing.assert_close(model(x), expected)
    torch.testing.assert_close(model.features(x).shape, (*expected.shape[:-1], 5))


def test_an_empty_batch_gives_an_empty_output() -> None:
    """Any leading axes, empty ones too."""
    assert MLP(6, (5,), 4)(torch.zeros(0, 6)).shape == (0, 4)


@pytest.mark.parametrize("dtype", [torch.float32, F64, torch.bfloat16, torch.float16])
def test_dtype_is_that_of_every_tensor(dtype: torch.dtype) -> None:
    """Parameters, norms, slopes and the output."""
    model = MLP(6, (5,), 4, activation="prelu", norm="layer", dtype=dtype)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    assert model(torch.randn(3, 6, dtype=dtype)).dtype is dtype


# Configuration and appearance


def test_config_of_a_network_builds_its_twin() -> None:
    """From names and configurations it is what was passed; the twin has the same state_dict."""
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
    """One for all if all are alike, else one for each."""
    alike = MLP(6, (5, 4), 2, activation=nn.LeakyReLU(0.2), output_activation=nn.Sigmoid())
    assert alike.config.activation == ActivationConfig("leaky_relu", negative_slope=0.2)
    assert alike.config.output_activation == ActivationConfig("sigmoid")
    mixed = MLP(6, (5, 4), 2, activation=["relu", nn.Tanh()])
    assert mixed.config.activation == (ActivationConfig("relu"), ActivationConfig("tanh"))


def test_config_of_a_custom_activation_says_what_to_do() -> None:
    """There is no name for it."""
    model = MLP(6, (5,), 2, activation=Scaled())
    with pytest.raises(ValueError, match=r"^activation must be one of .*got Scaled\(\); build the"):
        _ = model.config


def test_from_config_of_a_subclass_is_of_the_subclass() -> None:
    """So that a project can extend it."""

    class Mine(MLP):
        pass

    config = MLPConfig(in_features=6, hidden_features=(), out_features=1)
    assert type(Mine.from_config(config)) is Mine


def test_repr_shows_what_matters() -> None:
    """Widths, the options that are not the default, and each layer in one line."""
    model = MLP(6, (5, 5), 2, norm="batch", dropout=0.5, residual=True, bias=False)
    lines = repr(model).splitlines()
    assert lines[1] == "  6, (5, 5), 2, norm='batch', dropout=0.5, bias=False, residual=True"
    assert lines[3] == "    (0): Linear(6, 5, bias=False) -> BatchNorm -> ReLU()"
    assert lines[4] == (
        "    (1): Dropout(0.5) -> Linear(5, 5, bias=False) -> BatchNorm -> ReLU() (+ input)"
    )


def test_layers_are_a_typed_list() -> None:
    """Iteration, indexing and slicing give hidden layers."""
    model = MLP(6, (5, 4, 3), 2)
    assert [layer.in_features for layer in model.layers] == [6, 5, 4]
    assert model.layers[-1].out_features == 3
    assert [layer.out_features for layer in model.layers[:2]] == [5, 4]
    assert all(isinstance(layer, HiddenLayer) for layer in model.layers)
