"""PReLU against torch's on two axes, and against a loop on any number of axes."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from mlpkit.nn import PReLU

SHAPES = [(4,), (3, 4), (4, 4), (2, 3, 4), (4, 4, 4), (2, 3, 5, 4)]


def loop(x: Tensor, slopes: Tensor) -> Tensor:
    """The definition, element by element."""
    rows = x.reshape(-1, x.shape[-1])
    values = [
        value if value > 0 else slopes[index % len(slopes)] * value
        for row in rows
        for index, value in enumerate(row)
    ]
    return torch.stack(values).reshape(x.shape)


def slopes_of(count: int) -> Tensor:
    """Distinct slopes, some below 0 and some above 1."""
    values = [0.3] if count == 1 else [-0.5 + 2 * index / (count - 1) for index in range(count)]
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("num_parameters", [1, 4])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_a_loop_on_any_number_of_axes(shape: tuple[int, ...], num_parameters: int) -> None:
    """Value and both gradients; on (4, 4, 4) torch's acts on axis 1 without an error."""
    module = PReLU(num_parameters, dtype=torch.float64)
    with torch.no_grad():
        module.weight.copy_(slopes_of(num_parameters))
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(shape, dtype=torch.float64)

    actual = module(x)
    expected = loop(x, module.weight)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)

    inputs = (x, module.weight)
    for got, wanted in zip(
        torch.autograd.grad(actual, inputs, upstream),
        torch.autograd.grad(expected, inputs, upstream),
        strict=True,
    ):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("num_parameters", [1, 4])
def test_equals_torch_on_two_axes_in_value_and_gradient_also_at_zero(num_parameters: int) -> None:
    module, theirs = PReLU(num_parameters), nn.PReLU(num_parameters)
    with torch.no_grad():
        theirs.weight.copy_(slopes_of(num_parameters))
    module.load_state_dict(theirs.state_dict())
    x = torch.randn(6, 4)
    x[0], x[1, 2] = 0.0, -0.0
    x.requires_grad_()

    actual, expected = module(x), theirs(x)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)
    got = torch.autograd.grad(actual.sum(), (x, module.weight))
    wanted = torch.autograd.grad(expected.sum(), (x, theirs.weight))
    torch.testing.assert_close(got, wanted, rtol=0, atol=0)
    torch.testing.assert_close(got[0][0], module.weight.detach().expand(4), rtol=0, atol=0)


def test_torch_acts_on_axis_one_and_this_on_the_last() -> None:
    """The reason why this class exists, with the output of torch's."""
    slopes = torch.tensor([0.0, 0.5, 1.0])
    module, theirs = PReLU(3), nn.PReLU(3)
    for each in (module, theirs):
        each.load_state_dict({"weight": slopes})
    x = -torch.ones(1, 3, 3)

    assert module(x)[0].tolist() == [[0.0, -0.5, -1.0]] * 3
    assert theirs(x)[0].tolist() == [[0.0] * 3, [-0.5] * 3, [-1.0] * 3]


def test_its_state_dict_loads_into_torch_and_back() -> None:
    module = PReLU(5, init=0.1)
    theirs = nn.PReLU(5)
    theirs.load_state_dict(module.state_dict())
    assert theirs.weight.tolist() == module.weight.tolist()


@pytest.mark.parametrize("num_parameters", [1, 3])
@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 2, 3)], ids=str)
def test_gradcheck(shape: tuple[int, ...], num_parameters: int) -> None:
    module = PReLU(num_parameters, dtype=torch.float64)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)

    def function(x: Tensor, weight: Tensor) -> Tensor:
        result: Tensor = torch.func.functional_call(module, {"weight": weight}, (x,))
        return result

    weight = module.weight.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(function, (x, weight))
    assert torch.autograd.gradgradcheck(function, (x, weight))


@pytest.mark.parametrize("num_parameters", [1, 4])
def test_autocast_keeps_the_dtype_of_the_input(num_parameters: int) -> None:
    """A float32 slope does not promote bfloat16 activations, as torch.where would."""
    module = PReLU(num_parameters)
    x = torch.randn(2, 3, 4, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = module(x)
    assert actual.dtype is torch.bfloat16
    expected = torch.where(x > 0, x, x * 0.25)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_dtype_and_device_reach_the_slopes(dtype: torch.dtype) -> None:
    module = PReLU(3, init=0.5, dtype=dtype)
    assert module.weight.dtype is dtype
    assert module(-torch.ones(2, 3, dtype=dtype)).dtype is dtype
    assert PReLU(3, device="meta").weight.is_meta


def test_reset_parameters_goes_back_to_init() -> None:
    module = PReLU(3, init=0.1, dtype=torch.float64)
    with torch.no_grad():
        module.weight.fill_(9.0)
    module.reset_parameters()
    assert module.weight.tolist() == [0.1] * 3


def test_one_slope_takes_any_shape() -> None:
    assert PReLU()(torch.tensor(-2.0)).item() == -0.5
    assert PReLU(4)(torch.empty(0, 3, 4)).shape == (0, 3, 4)


def test_a_view_that_is_not_contiguous_is_accepted() -> None:
    module = PReLU(4)
    module.load_state_dict({"weight": slopes_of(4)})
    x = torch.randn(4, 3, 2).transpose(0, 2)
    torch.testing.assert_close(module(x), loop(x, module.weight))


@pytest.mark.parametrize("shape", [(), (3,), (4, 3), (2, 4, 5)], ids=str)
def test_a_wrong_last_axis_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"input must be a tensor of shape \(\*, 4\), got \("):
        PReLU(4)(torch.ones(shape))


@pytest.mark.parametrize("value", [0, -1])
def test_a_count_below_one_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match=f"num_parameters must be a positive integer, got {value}"):
        PReLU(value)


def test_a_bool_or_a_slope_that_is_not_finite_is_refused() -> None:
    with pytest.raises(TypeError, match="num_parameters must be a positive integer, got True"):
        PReLU(True)
    with pytest.raises(ValueError, match="init must be a finite number, got nan"):
        PReLU(1, float("nan"))


def test_copies_and_pickles_are_equal_and_share_nothing() -> None:
    module = PReLU(3, init=0.1)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert repr(other) == repr(module) == "PReLU(num_parameters=3, init=0.1)"
        assert other.weight.tolist() == module.weight.tolist()
        assert other.weight is not module.weight


@pytest.mark.parametrize("num_parameters", [1, 4])
def test_compile_and_export_with_a_dynamic_batch(num_parameters: int) -> None:
    module = PReLU(num_parameters)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(module, (torch.randn(3, 2, 4),), dynamic_shapes=({0: batch},))
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    for size in (1, 5):
        x = torch.randn(size, 2, 4)
        torch.testing.assert_close(program.module()(x), module(x), rtol=0, atol=0)
        torch.testing.assert_close(compiled(x), module(x), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("shape", "memory_format"),
    [((2, 4, 3, 6), torch.channels_last), ((2, 4, 5, 3, 6), torch.channels_last_3d)],
)
@pytest.mark.parametrize("num_parameters", [1, 6])
def test_the_memory_format_is_kept(
    shape: tuple[int, ...], memory_format: torch.memory_format, num_parameters: int
) -> None:
    """As by torch.nn.PReLU; values and gradients are those of contiguous inputs."""
    activation = PReLU(num_parameters)
    plain = torch.randn(shape, requires_grad=True)
    x = plain.detach().to(memory_format=memory_format).requires_grad_()
    output, expected = activation(x), activation(plain)
    assert output.is_contiguous(memory_format=memory_format)
    assert expected.is_contiguous()
    assert torch.equal(output, expected)
    upstream = torch.randn_like(expected)
    weights = list(activation.parameters())
    found = torch.autograd.grad(output, [x, *weights], upstream)
    wanted = torch.autograd.grad(expected, [plain, *weights], upstream)
    for one, two in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("permuted", [(1, 0, 2), (2, 0, 1)])
def test_other_strides_have_the_same_values(permuted: tuple[int, ...]) -> None:
    activation = PReLU(6)
    x = torch.randn(6, 6, 6).permute(permuted)
    assert torch.equal(activation(x), activation(x.contiguous()))
