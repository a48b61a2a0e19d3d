"""merge_affine and homogeneous against the network that they convert."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mlpkit.nn import (
    MLP,
    Activation,
    ActivationName,
    HomogeneousNetwork,
    Maxout,
    NormName,
    homogeneous,
    merge_affine,
)

F64 = torch.float64
HIDDEN = [(), (5,), (5, 4, 3)]
SHAPES = [(6,), (7, 6), (2, 3, 6), (2, 1, 3, 6)]


def randomize(model: nn.Module) -> None:
    """Set every bias, norm parameter and slope to a random value."""
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if not name.endswith("linear.weight") and tensor.is_floating_point():
                tensor.uniform_(0.2, 1.5)


@pytest.mark.parametrize("hidden", HIDDEN, ids=len)
@pytest.mark.parametrize("shape", SHAPES, ids=len)
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_network_equals_its_merged_layer(
    hidden: tuple[int, ...], shape: tuple[int, ...], bias: bool
) -> None:
    """W2 (W1 x + b1) + b2 = W x + b, to the precision of float64."""
    model = MLP(6, hidden, 2, activation="identity", bias=bias, dtype=F64)
    randomize(model)
    x = torch.randn(shape, dtype=F64)
    layer = merge_affine(model)
    assert (layer.in_features, layer.out_features) == (6, 2)
    torch.testing.assert_close(layer(x), model(x), rtol=1e-12, atol=1e-13)


def test_the_merged_matrix_is_the_product_of_the_matrices() -> None:
    """W = W3 W2 W1, element by element, by a loop."""
    model = MLP(3, (4, 2), 2, activation="identity", bias=False, dtype=F64)
    first, second, third = (parameter.detach() for parameter in model.parameters())
    merged = merge_affine(model).weight.tolist()
    for row, column in itertools.product(range(2), range(3)):
        by_hand = sum(
            float(third[row, i] * second[i, j] * first[j, column])
            for i, j in itertools.product(range(2), range(4))
        )
        assert merged[row][column] == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize("out_features", [None, 2])
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("norm", [None, "batch"])
def test_affine_operations_are_merged(
    out_features: int | None, residual: bool, norm: NormName | None
) -> None:
    """Skips, batch norm with its running statistics, Maxout with one piece, unused dropout."""
    model = MLP(
        6,
        (5, 5, 5),
        out_features,
        activation=["identity", Maxout(1), nn.Identity()],
        norm=norm,
        residual=residual,
        dropout=0.5,
        dtype=F64,
    ).eval()
    randomize(model)
    x = torch.randn(7, 6, dtype=F64)
    torch.testing.assert_close(merge_affine(model)(x), model(x), rtol=1e-11, atol=1e-12)


def test_the_empty_backbone_merges_to_the_identity() -> None:
    """It has no layers."""
    layer = merge_affine(MLP(3, (), None))
    assert torch.equal(layer.weight, torch.eye(3))
    assert not layer.bias.any()


def test_the_merged_layer_shares_nothing_and_keeps_dtype_and_training() -> None:
    """It is a separate layer with parameters that require gradients."""
    model = MLP(6, (5,), 2, activation="identity", dtype=torch.float32)
    layer = merge_affine(model)
    before = layer.weight.detach().clone()
    model.reset_parameters()
    assert torch.equal(layer.weight, before)
    assert layer.weight.dtype is torch.float32
    assert layer.weight.requires_grad
    assert layer.weight.is_leaf


@pytest.mark.parametrize(
    ("activation", "norm", "output", "message"),
    [
        (
            ["identity", "relu"],
            None,
            None,
            r"^layers\.1\.activation of model must be the identity, got ReLU\(\); "
            "a network with a nonlinearity is not an affine map$",
        ),
        (["maxout", "identity"], None, None, r"^layers\.0\.activation of model .* Maxout\(num_p"),
        (
            "identity",
            None,
            "sigmoid",
            r"^output_activation of model must be the identity, got Sigm",
        ),
        (
            "identity",
            "layer",
            None,
            r"^layers\.0\.norm of model must be None or batch norm, got Lay",
        ),
        (
            "identity",
            "rms",
            None,
            r"^layers\.0\.norm of model must be None or batch norm, got RMSN",
        ),
    ],
)
def test_a_nonlinearity_is_refused_with_the_name_of_its_module(
    activation: ActivationName | list[Activation],
    norm: NormName | None,
    output: ActivationName | None,
    message: str,
) -> None:
    """The message names the first module that is not affine."""
    model = MLP(6, (5, 4), 2, activation=activation, norm=norm, output_activation=output)
    with pytest.raises(ValueError, match=message):
        merge_affine(model)


@pytest.mark.parametrize("fold", [merge_affine, homogeneous])
@pytest.mark.parametrize(
    "model",
    [
        MLP(6, (5,), 2, activation="identity", norm="batch"),
        MLP(6, (5,), 2, activation="identity", dropout=0.1),
        MLP(6, (5,), 2, activation="identity", input_dropout=0.1),
    ],
)
def test_a_network_in_training_mode_is_refused(fold: Callable[[MLP], object], model: MLP) -> None:
    """Dropout is random, and batch norm depends on the batch."""
    message = r"^model must be in eval mode if it has dropout or batch norm, got .*; call model\.ev"
    with pytest.raises(ValueError, match=message):
        fold(model.train())
    fold(model.eval())


def test_another_type_is_refused() -> None:
    """The message names the accepted types."""
    untyped: Callable[..., object] = merge_affine
    with pytest.raises(TypeError, match=r"^model must be an MLP, got Sequential\(\)$"):
        untyped(nn.Sequential())
    untyped_too: Callable[..., object] = homogeneous
    with pytest.raises(TypeError, match=r"^model must be an MLP or a torch\.nn\.Linear, got 3$"):
        untyped_too(3)


def by_hand(network: HomogeneousNetwork, x: Tensor, phi: Callable[[Tensor], Tensor]) -> Tensor:
    """phi(W_L [phi(... [x, 1]), 1]) with column vectors, one example at a time."""
    outputs = []
    for example in x:
        h = example
        for index, weight in enumerate(network.weights):
            h = weight @ torch.tensor([*h.tolist(), 1.0], dtype=x.dtype)
            h = phi(h) if index + 1 < len(network.weights) else h
        outputs.append(h)
    return torch.stack(outputs)


@pytest.mark.parametrize("hidden", HIDDEN, ids=len)
@pytest.mark.parametrize("bias", [True, False])
def test_homogeneous_weights_applied_to_x_and_1(hidden: tuple[int, ...], bias: bool) -> None:
    """Products with [x, 1], layer by layer, equal the output of the network."""
    model = MLP(6, hidden, 2, activation="tanh", bias=bias, dtype=F64)
    randomize(model)
    network = homogeneous(model)
    widths = (6, *hidden, 2)
    shapes = [(out, into + 1) for into, out in itertools.pairwise(widths)]
    assert [tuple(weight.shape) for weight in network.weights] == shapes
    x = torch.randn(7, 6, dtype=F64)
    torch.testing.assert_close(by_hand(network, x, torch.tanh), model(x), rtol=1e-12, atol=1e-13)
    assert sum(weight.numel() for weight in network.weights) == model.num_parameters or not bias


@pytest.mark.parametrize("hidden", [(), (5,), (5, 5, 5)], ids=len)
@pytest.mark.parametrize("shape", SHAPES, ids=len)
@pytest.mark.parametrize("activation", ["relu", "prelu", "maxout", "swiglu"])
@pytest.mark.parametrize("norm", [None, "batch", "layer"])
def test_the_homogeneous_network_equals_the_network(
    hidden: tuple[int, ...],
    shape: tuple[int, ...],
    activation: ActivationName,
    norm: NormName | None,
) -> None:
    """With every kind of layer, for inputs of every rank, in value and gradient."""
    model = MLP(
        6,
        hidden,
        2,
        activation=activation,
        norm=norm,
        residual=True,
        output_activation="sigmoid",
        dtype=F64,
    ).eval()
    randomize(model)
    network = homogeneous(model)
    x = torch.randn(shape, dtype=F64, requires_grad=True)
    torch.testing.assert_close(network(x), model(x), rtol=1e-10, atol=1e-12)
    (found,) = torch.autograd.grad(network(x).sum(), [x])
    (wanted,) = torch.autograd.grad(model(x).sum(), [x])
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
def test_a_single_linear_layer(bias: bool) -> None:
    """[W b] [x, 1] = W x + b."""
    linear = nn.Linear(6, 2, bias=bias, dtype=F64)
    network = homogeneous(linear)
    x = torch.randn(2, 3, 6, dtype=F64)
    torch.testing.assert_close(network(x), linear(x))
    assert torch.equal(network.weights[0][:, :6], linear.weight)


def test_a_backbone_and_a_flattening_network() -> None:
    """One without a head, and one that takes images."""
    backbone = MLP(6, (5,), None)
    x = torch.randn(3, 6)
    torch.testing.assert_close(homogeneous(backbone)(x), backbone(x))
    model = MLP(6, (5,), 2, flatten=True)
    images = torch.randn(3, 1, 2, 3)
    torch.testing.assert_close(homogeneous(model)(images), model(images))


def test_the_copy_does_not_change_with_the_network() -> None:
    """Weights and slopes are copies that do not require gradients."""
    model = MLP(6, (5,), 2, activation="prelu", norm="layer")
    network = homogeneous(model)
    x = torch.randn(3, 6)
    before = network(x)
    for tensor in model.state_dict().values():
        tensor.fill_(9)
    assert torch.equal(network(x), before)
    assert not before.requires_grad
