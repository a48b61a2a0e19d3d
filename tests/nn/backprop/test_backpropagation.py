"""Backpropagation against autograd: the same bits for every kind of layer."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from mlpkit._protocols import find_backpropagation
from mlpkit.nn import MLP, ActivationName, Maxout, MLPConfig, PReLU
from mlpkit.nn.backprop import Backpropagation

pytestmark = pytest.mark.usefixtures("slow_mkl")

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
NAMES = [name for name in get_args(ActivationName) if name != "threshold"]


BASE = MLPConfig(in_features=70, hidden_features=(96, 80), out_features=5)


def network(**options: Any) -> MLP:
    config = dataclasses.replace(BASE, **options)
    return MLP.from_config(config, generator=torch.Generator().manual_seed(0))


def by_autograd(model: nn.Module, inputs: Tensor, grad: Tensor) -> tuple[Tensor, list[Tensor]]:
    torch.manual_seed(7)
    output = model(inputs)
    torch.autograd.backward(output, grad.to(output.dtype))
    return output.detach(), gradients(model)


def by_backpropagation(
    model: MLP, inputs: Tensor, grad: Tensor, *, bit_exact: bool = True
) -> tuple[Tensor, list[Tensor]]:
    passes = Backpropagation(model, bit_exact=bit_exact)
    assert passes.can_run(inputs)
    torch.manual_seed(7)
    output = passes.forward(inputs)
    passes.backward(grad.to(output.dtype))
    return output.clone(), gradients(model)


def gradients(model: nn.Module) -> list[Tensor]:
    found = []
    for parameter in model.parameters():
        assert parameter.grad is not None
        found.append(parameter.grad.clone())
        parameter.grad = None
    return found


def inputs_and_grad(
    model: MLP, rows: int = 33, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    width = (model.in_features, *model.hidden_features)[-1]
    outputs = width if model.out_features is None else model.out_features
    return (
        torch.randn(rows, model.in_features, generator=generator).to(dtype),
        torch.randn(rows, outputs, generator=generator).to(dtype),
    )


def assert_same_bits(
    model: MLP, *, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> None:
    model = model.to(device)
    twin = copy.deepcopy(model)
    inputs, grad = (each.to(device) for each in inputs_and_grad(model, dtype=dtype))
    expected, expected_gradients = by_autograd(twin, inputs, grad)
    found, found_gradients = by_backpropagation(model, inputs, grad)
    assert torch.equal(found, expected)
    for one, other in zip(found_gradients, expected_gradients, strict=True):
        assert torch.equal(one, other)
    for one, other in zip(model.buffers(), twin.buffers(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", NAMES)
def test_every_activation(name: ActivationName) -> None:
    assert_same_bits(network(activation=name))


@pytest.mark.parametrize("norm", ["batch", "layer", "rms"])
@pytest.mark.parametrize("residual", [False, True])
def test_norm_dropout_and_skip(norm: str, residual: bool) -> None:
    hidden = (96, 96, 96)
    assert_same_bits(
        network(
            hidden_features=hidden, norm=norm, dropout=0.3, input_dropout=0.1, residual=residual
        )
    )


@pytest.mark.parametrize(
    "options",
    [
        {"bias": False},
        {"hidden_features": ()},
        {"out_features": None},
        {"out_features": None, "residual": True, "hidden_features": (96, 96)},
        {"output_activation": "tanh"},
        {"residual": True, "hidden_features": (96, 96)},
        {"dropout": (0.5, 0.0)},
        {"max_norm": 1.0},
    ],
    ids=str,
)
def test_other_options(options: dict[str, Any]) -> None:
    assert_same_bits(network(**options))


def test_float64() -> None:
    assert_same_bits(network(norm="layer").double(), dtype=torch.float64)


def test_activations_passed_as_modules() -> None:
    model = MLP(70, (96, 80), 5, activation=[Maxout(num_pieces=3), PReLU(80)])
    assert_same_bits(model)


@pytest.mark.parametrize(
    "options", [{}, {"norm": "layer", "dropout": 0.2}, {"bias": False}], ids=str
)
def test_bf16_under_autocast(options: dict[str, Any]) -> None:
    model = network(**options)
    twin = copy.deepcopy(model)
    inputs, grad = inputs_and_grad(model)
    with torch.autocast("cpu", torch.bfloat16):
        expected, expected_gradients = by_autograd(twin, inputs, grad)
        found, found_gradients = by_backpropagation(model, inputs, grad)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected)
    for one, other in zip(found_gradients, expected_gradients, strict=True):
        assert one.dtype == torch.float32
        assert torch.equal(one, other)


@needs_cuda
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": False},
        {"norm": "batch", "dropout": 0.3, "residual": True, "hidden_features": (96, 96)},
        {"activation": "gelu", "output_activation": "tanh"},
    ],
    ids=str,
)
def test_on_a_gpu(options: dict[str, Any]) -> None:
    assert_same_bits(network(**options), device="cuda")
    assert_same_bits(network(**options).double(), dtype=torch.float64, device="cuda")
    model = network(**options).cuda()
    twin = copy.deepcopy(model)
    inputs, grad = (each.cuda() for each in inputs_and_grad(model))
    with torch.autocast("cuda", torch.bfloat16):
        expected, expected_gradients = by_autograd(twin, inputs, grad)
        found, found_gradients = by_backpropagation(model, inputs, grad)
    for one, other in zip([found, *found_gradients], [expected, *expected_gradients], strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_cuda)])
def test_faster_products_differ_by_rounding_only(device: str) -> None:
    """Sums of up to 128 products in another order differ by a few units in the last place."""
    model = network().to(device)
    inputs, grad = (each.to(device) for each in inputs_and_grad(model, rows=128))
    exact = copy.deepcopy(model).double()
    output, expected = by_autograd(exact, inputs.double(), grad.double())
    found, found_gradients = by_backpropagation(model, inputs, grad, bit_exact=False)
    for one, other in zip([found, *found_gradients], [output, *expected], strict=True):
        assert float((one - other).abs().max()) < 1e-6 * float(other.abs().max()) * 8


def test_buffers_are_reused_and_batches_may_be_shorter() -> None:
    model = network()
    inputs, grad = inputs_and_grad(model)
    passes = Backpropagation(model, bit_exact=True)
    for rows in (33, 33, 5, 33):
        passes.forward(inputs[:rows])
        passes.backward(grad[:rows])
        found = gradients(model)
        _, expected = by_autograd(copy.deepcopy(model), inputs[:rows], grad[:rows])
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def _add_forward_hook(model: MLP) -> None:
    model.layers[0].linear.register_forward_hook(lambda *_: None)


def _add_gradient_hook(model: MLP) -> None:
    model.layers[0].linear.weight.register_hook(lambda grad: grad)  # type: ignore[no-untyped-call]


def _add_post_accumulate_hook(model: MLP) -> None:
    model.layers[0].linear.weight.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
        lambda _: None
    )


def _freeze(model: MLP) -> None:
    model.layers[0].linear.weight.requires_grad_(False)


def _to_eval_mode(model: MLP) -> None:
    model.eval()


def _set_dropout(model: MLP) -> None:
    model.layers[1].dropout.p = 0.5


def _replace_activation(model: MLP) -> None:
    model.layers[0].activation = nn.Tanh()


def _set_skip(model: MLP) -> None:
    model.layers[1].skip = True


def _set_output_activation(model: MLP) -> None:
    model.output_activation = nn.Tanh()


def _replace_weight(model: MLP) -> None:
    model.layers[0].linear.weight = nn.Parameter(torch.ones(96, 70))


def _parametrize(model: MLP) -> None:
    nn.utils.parametrizations.weight_norm(model.layers[0].linear)


def _replace_forward(model: MLP) -> None:
    model.layers[0].forward = lambda x: x  # type: ignore[method-assign]


@pytest.mark.parametrize(
    "change",
    [
        _add_forward_hook,
        _add_gradient_hook,
        _add_post_accumulate_hook,
        _freeze,
        _to_eval_mode,
        _set_dropout,
        _replace_activation,
        _set_skip,
        _set_output_activation,
        _replace_weight,
        _parametrize,
        _replace_forward,
    ],
)
def test_a_changed_network_is_left_to_autograd(change: Callable[[MLP], None]) -> None:
    """Also if the change is made after the passes were built."""
    model = network()
    inputs, _ = inputs_and_grad(model)
    passes = Backpropagation(model)
    assert passes.can_run(inputs)
    change(model)
    assert not passes.can_run(inputs)


def test_inputs_that_require_a_gradient_or_have_more_axes_are_left_to_autograd() -> None:
    model = network()
    inputs, _ = inputs_and_grad(model)
    passes = Backpropagation(model)
    assert not passes.can_run(inputs.clone().requires_grad_())
    assert not passes.can_run(inputs[None])
    assert not passes.can_run(inputs[0])


class _Doubled(MLP):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def test_unsupported_networks_are_left_to_autograd() -> None:
    assert find_backpropagation(network()) is not None
    assert find_backpropagation(_Doubled(4, (3,), 2)) is None
    replaced = network()
    replaced.layers[0].linear = nn.utils.parametrizations.weight_norm(replaced.layers[0].linear)
    assert find_backpropagation(replaced) is None
    assert find_backpropagation(MLP(4, (3,), 2, device="meta")) is None
    assert find_backpropagation(network().bfloat16()) is None
    tied = MLP(70, (72, 72), 5)
    tied.layers[1].linear.bias = tied.layers[0].linear.bias
    assert find_backpropagation(tied) is None
    with_extra_parameter = network()
    with_extra_parameter.layers[0].linear.scale = nn.Parameter(torch.ones(()))
    assert find_backpropagation(with_extra_parameter) is None
    in_place = network()
    in_place.layers[0].activation = nn.ELU(inplace=True)
    assert find_backpropagation(in_place) is None


def test_an_activation_without_a_gradient() -> None:
    class Step(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x > 0).to(x.dtype)

    model = MLP(70, (96, 80), 5, activation=["relu", Step()])
    inputs, grad = inputs_and_grad(model)
    passes = Backpropagation(model)
    passes.forward(inputs)
    passes.backward(grad)
    of_head = model.head.weight.grad if model.head is not None else None
    of_first = model.layers[0].linear.weight.grad
    assert of_head is not None
    assert of_first is not None
    assert of_head.any()
    assert not of_first.any()
