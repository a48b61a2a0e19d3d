"""MLP against matrix products, in value and gradient, for every depth and rank."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from mlpkit.nn import (
    MLP,
    ActivationName,
    NormName,
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
    """The two branches, selected by torch.where."""
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
    """The equations of the three norms, over the last axis."""
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
    """A multilayer perceptron as matrix products with the tensors of a state_dict."""
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
    """Set every parameter and floating buffer to random values, so that none is 0 or 1."""
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if tensor.is_floating_point():
                tensor.uniform_(-0.8, 1.2)
            if name.endswith("running_var"):
                tensor.abs_()


def assert_equals_oracle(
    model: MLP, x: Tensor, oracle: Callable[[Mapping[str, Tensor], Tensor], Tensor]
) -> None:
    """Compare the output, and the gradients of the input and of every parameter."""
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
    """All axes but the last are examples, even if axis 1 has as many entries as features."""
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
    """The input of a layer is added to the output of its activation."""
    model = MLP(6, hidden, 4, activation=activation, norm=norm, residual=True, dtype=F64)
    random_state(model)
    assert_equals_oracle(
        model,
        torch.randn(shape, dtype=F64),
        lambda state, x: oracle_mlp(state, x, len(hidden), activation, norm=norm, residual=True),
    )


def test_the_first_layer_has_no_skip_even_if_the_widths_are_equal() -> None:
    """The rule does not depend on in_features."""
    model = MLP(5, (5,), 2, residual=True)
    assert [layer.skip for layer in model.layers] == [False]


@pytest.mark.parametrize("hidden", HIDDEN, ids=len)
@pytest.mark.parametrize("shape", SHAPES, ids=len)
@pytest.mark.parametrize("output", ["sigmoid", "prelu", "maxout"])
def test_output_activation_at_every_depth(
    hidden: tuple[int, ...], shape: tuple[int, ...], output: ActivationName
) -> None:
    """It acts on the output of the head, and its expansion widens the head."""
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
def test_backbone_returns_the_output_of_the_last_hidden_layer(
    hidden: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    """The output equals ``features``; without hidden layers it is the input."""
    model = MLP(6, hidden, None, activation="tanh", dtype=F64)
    x = torch.randn(shape, dtype=F64)
    expected = oracle_mlp(model.state_dict(), x, len(hidden), "tanh")
    torch.testing.assert_close(model(x), expected)
    torch.testing.assert_close(model.features(x), expected)
    assert not [key for key in model.state_dict() if key.startswith("head")]


@pytest.mark.parametrize("hidden", HIDDEN, ids=len)
def test_features_is_the_input_of_the_head(hidden: tuple[int, ...]) -> None:
    """Applying the head to the features gives the output."""
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
    """For the input and all parameters, in float64."""
    model = MLP(3, hidden, 2, activation=activation, norm=norm, residual=residual, dtype=F64).eval()
    random_state(model)
    names = [name for name, _ in model.named_parameters()]

    def run(x: Tensor, *parameters: Tensor) -> Tensor:
        given = dict(zip(names, parameters, strict=True))
        output: Tensor = torch.func.functional_call(model, given, (x,))
        return output

    inputs = (torch.randn(4, 3, dtype=F64), *(p.detach().clone() for p in model.parameters()))
    assert torch.autograd.gradcheck(run, [part.requires_grad_() for part in inputs])


# Numbers from the literature.


def test_6_4_3_1_has_47_parameters() -> None:
    """7 * 4 + 5 * 3 + 4 * 1."""
    assert MLP(6, [4, 3], 1).num_parameters == 7 * 4 + 5 * 3 + 4 * 1 == 47


def test_softmax_and_cross_entropy_of_known_logits() -> None:
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


# Dropout acts on the inputs of linear layers, never on the output of the network.


def test_each_dropout_entry_belongs_to_the_output_of_its_layer() -> None:
    """The entry of a hidden layer acts on the input of the next linear layer, hidden or head."""
    model = MLP(6, (5, 4, 3), 2, dropout=[0.1, 0.2, 0.3], input_dropout=0.4)
    assert [layer.dropout.p for layer in model.layers] == [0.4, 0.1, 0.2]
    assert model.head_dropout.p == 0.3


def test_one_dropout_applies_to_every_hidden_layer() -> None:
    """The Maxout recipe: 0.2 on the input, 0.5 before the second layer and before the head."""
    model = MLP(784, (240, 240), 10, activation="maxout", dropout=0.5, input_dropout=0.2)
    assert [layer.dropout.p for layer in model.layers] == [0.2, 0.5]
    assert model.head_dropout.p == 0.5
    linear = MLP(6, (), 2, dropout=0.5, input_dropout=0.2)
    assert linear.head_dropout.p == 0.2


def test_the_output_has_no_dropout() -> None:
    """Neither the output of a head nor that of a backbone is zeroed."""
    torch.manual_seed(1)
    backbone = MLP(6, (50,), None, activation="identity", dropout=0.9)
    x = torch.randn(20, 6)
    torch.testing.assert_close(backbone(x), backbone.eval()(x))
    for output in (None, "sigmoid"):
        model = MLP(6, (50,), 40, activation="sigmoid", output_activation=output, dropout=0.9)
        assert not (model(x) == 0).any()


def test_dropout_masks_the_input_of_each_linear_layer() -> None:
    """Training mode equals matrix products on masked values, with the masks taken from hooks."""
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


# Max-norm and parameter groups.


@pytest.mark.parametrize("activation", ["relu", "maxout"])
def test_max_norm_bounds_each_row_of_the_weights(activation: ActivationName) -> None:
    """Longer rows, of each piece separately, are scaled to max_norm; all others are unchanged."""
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


def test_without_max_norm_no_weight_changes() -> None:
    """None means no limit."""
    model = MLP(6, (5,), 3)
    model.layers[0].linear.weight.data.fill_(100.0)
    model.apply_max_norm_()
    assert model.max_norm is None
    assert model.layers[0].linear.weight.eq(100.0).all()


def test_only_weights_of_linear_layers_have_weight_decay() -> None:
    """The slopes of PReLU, norms and biases are in the group without weight decay."""
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


def test_a_step_of_sgd_decays_only_the_weights() -> None:
    """With zero gradients, a parameter with weight decay is multiplied by 1 - lr * decay."""
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


def pruned(linear: nn.Linear) -> nn.Linear:
    return prune.l1_unstructured(linear, "weight", 0.5)  # type: ignore[no-untyped-call, no-any-return]


@pytest.mark.parametrize(
    ("change", "factor"),
    [
        (nn.utils.parametrizations.weight_norm, 0.95),
        (nn.utils.parametrizations.spectral_norm, 1.0),
        (nn.utils.parametrizations.orthogonal, None),
        (pruned, 0.95),
    ],
    ids=["weight_norm", "spectral_norm", "orthogonal", "pruned"],
)
def test_computed_weights_decay_through_their_parameters(
    change: Callable[[nn.Linear], nn.Module], factor: float | None
) -> None:
    """As torch's optimizers decay them; a constraint of their norm is refused."""
    model = MLP(6, (5,), 2, max_norm=1.0)
    change(model.layers[0].linear)
    layer = model.eval().layers[0].linear
    before = layer.weight.detach().clone()
    optimizer = torch.optim.SGD(model.param_groups(weight_decay=0.5), lr=0.1)
    kept = {id(layer.bias), id(model.head.bias)} if model.head is not None else set()
    assert {id(one) for one in optimizer.param_groups[1]["params"]} == kept
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    layer(torch.zeros(1, 6))  # computes a pruned weight
    if factor is not None:
        torch.testing.assert_close(layer.weight.detach(), factor * before)
    with pytest.raises(ValueError, match="max_norm must be None for parametrized or pruned"):
        model.apply_max_norm_()


def test_no_group_is_empty() -> None:
    """Some optimizers raise for an empty group."""
    assert len(MLP(6, (5,), 2, bias=False).param_groups(0.1)) == 1
    assert MLP(6, (), None).param_groups(0.1) == []


# Inputs


@pytest.mark.parametrize("shape", [(2, 1, 2, 3), (2, 2, 3), (2, 6), (6,), (1, 1, 2, 3), (0, 2, 3)])
def test_flatten_takes_all_axes_but_the_first_as_features(shape: tuple[int, ...]) -> None:
    """The output does not depend on axes of size 1."""
    model = MLP(6, (5,), 4, flatten=True)
    x = torch.randn(shape)
    flat = x if len(shape) == 1 else x.reshape(shape[0], 6)
    expected = oracle_mlp(model.state_dict(), flat, 1, "relu")
    torch.testing.assert_close(model(x), expected)
    torch.testing.assert_close(model.features(x).shape, (*expected.shape[:-1], 5))


def test_an_empty_batch_gives_an_empty_output() -> None:
    """With any leading axes."""
    assert MLP(6, (5,), 4)(torch.zeros(0, 6)).shape == (0, 4)


@pytest.mark.parametrize("dtype", [torch.float32, F64, torch.bfloat16, torch.float16])
def test_dtype_is_that_of_every_tensor(dtype: torch.dtype) -> None:
    """Parameters, norms, slopes and the output have it."""
    model = MLP(6, (5,), 4, activation="prelu", norm="layer", dtype=dtype)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    assert model(torch.randn(3, 6, dtype=dtype)).dtype is dtype
