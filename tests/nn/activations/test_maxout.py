"""Maxout against a loop, in value and in gradient."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from mlpkit.nn import Maxout, contiguous_pieces

PIECES = [1, 2, 3, 4, 5]
AXES = [(), (3,), (2, 3), (2, 1, 3)]


def loop(z: Tensor, num_pieces: int) -> Tensor:
    """The definition: the pieces of unit u are the features from u * k to (u + 1) * k."""
    rows = z.reshape(-1, z.shape[-1])
    units = z.shape[-1] // num_pieces
    values = []
    for row in rows:
        for unit in range(units):
            largest = row[unit * num_pieces]
            for piece in range(1, num_pieces):
                candidate = row[unit * num_pieces + piece]
                if candidate > largest:
                    largest = candidate
            values.append(largest)
    return torch.stack(values).reshape(*z.shape[:-1], units)


@pytest.mark.parametrize("leading", AXES, ids=str)
@pytest.mark.parametrize("num_pieces", PIECES)
def test_equals_a_loop_in_value_and_gradient(num_pieces: int, leading: tuple[int, ...]) -> None:
    z = torch.randn(*leading, 4 * num_pieces, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(*leading, 4, dtype=torch.float64)
    actual, expected = Maxout(num_pieces)(z), loop(z, num_pieces)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)
    (got,) = torch.autograd.grad(actual, z, upstream)
    (wanted,) = torch.autograd.grad(expected, z, upstream)
    torch.testing.assert_close(got, wanted, rtol=0, atol=0)


def test_the_pieces_of_a_unit_are_contiguous() -> None:
    """With the pieces u, u + m, ... for unit u the result would be [5, 6]."""
    assert Maxout(3)(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])).tolist() == [3.0, 6.0]


@pytest.mark.parametrize("num_pieces", [2, 3, 4, 5])
def test_tied_pieces_share_the_gradient_equally(num_pieces: int) -> None:
    """Every piece that attains the maximum gets the same share, and the others get 0."""
    for tied in range(1, num_pieces + 1):
        z = torch.full((num_pieces,), -1.0, dtype=torch.float64)
        z[num_pieces - tied :] = 2.0
        z.requires_grad_()
        (gradient,) = torch.autograd.grad(Maxout(num_pieces)(z).sum(), z)
        expected = [0.0] * (num_pieces - tied) + [1.0 / tied] * tied
        assert gradient.tolist() == pytest.approx(expected, rel=1e-15, abs=0.0)


@pytest.mark.parametrize("num_pieces", PIECES)
def test_gradcheck(num_pieces: int) -> None:
    """The values differ by more than the step of the check, so there are no ties."""
    order = torch.randperm(6 * num_pieces, generator=torch.Generator().manual_seed(num_pieces))
    z = order.double().reshape(2, 3 * num_pieces).requires_grad_()
    assert torch.autograd.gradcheck(Maxout(num_pieces), (z,))


def test_one_piece_is_the_identity() -> None:
    z = torch.randn(2, 3)
    assert torch.equal(Maxout(1)(z), z)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_keeps_the_dtype_under_autocast(dtype: torch.dtype) -> None:
    z = torch.randn(2, 6, dtype=dtype)
    assert Maxout(3)(z).dtype is dtype
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert Maxout(3)(z).dtype is dtype


def test_an_empty_batch_stays_empty() -> None:
    assert Maxout(3)(torch.empty(0, 2, 6)).shape == (0, 2, 2)


@pytest.mark.parametrize("num_pieces", PIECES)
def test_expansion_is_the_number_of_pieces(num_pieces: int) -> None:
    assert Maxout(num_pieces).expansion == num_pieces


@pytest.mark.parametrize("shape", [(), (4,), (3, 5), (3, 3, 4)], ids=str)
def test_a_last_axis_of_another_size_is_refused(shape: tuple[int, ...]) -> None:
    rule = r"input must be a tensor whose last axis has a size divisible by num_pieces=3, got \("
    with pytest.raises(ValueError, match=rule):
        Maxout(3)(torch.ones(shape))


def test_a_count_that_is_no_positive_integer_is_refused() -> None:
    with pytest.raises(ValueError, match="num_pieces must be a positive integer, got 0"):
        Maxout(0)
    with pytest.raises(TypeError, match="num_pieces must be a positive integer, got True"):
        Maxout(True)


def test_copies_and_pickles_are_equal() -> None:
    module = Maxout(3)
    z = torch.randn(2, 6)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert repr(other) == "Maxout(num_pieces=3)"
        assert torch.equal(other(z), module(z))


@pytest.mark.parametrize("num_pieces", [1, 3])
def test_compile_and_export_with_a_dynamic_batch(num_pieces: int) -> None:
    module = Maxout(num_pieces)
    example = (torch.randn(3, 2, 2 * num_pieces),)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(module, example, dynamic_shapes=({0: batch},))
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    for size in (1, 5):
        z = torch.randn(size, 2, 2 * num_pieces)
        assert torch.equal(program.module()(z), module(z))
        assert torch.equal(compiled(z), module(z))
        assert torch.equal(torch.func.functional_call(module, {}, (z,)), module(z))


@pytest.mark.parametrize("num_pieces", PIECES)
def test_a_layer_with_strided_pieces_computes_the_same_when_reordered(num_pieces: int) -> None:
    units = 4
    theirs, ours = nn.Linear(6, units * num_pieces), nn.Linear(6, units * num_pieces)
    ours.load_state_dict(
        {key: contiguous_pieces(value, num_pieces) for key, value in theirs.state_dict().items()}
    )
    x = torch.randn(5, 6)
    z = theirs(x)
    strided = [z[:, unit::units].max(dim=1).values for unit in range(units)]
    torch.testing.assert_close(Maxout(num_pieces)(ours(x)), torch.stack(strided, dim=1))


def test_pieces_that_do_not_divide_the_first_axis_are_refused() -> None:
    rule = (
        "parameter must be a tensor whose first axis has a size divisible by num_pieces=4, "
        r"got \(6, 2\)"
    )
    with pytest.raises(ValueError, match=rule):
        contiguous_pieces(torch.ones(6, 2), 4)


@pytest.mark.parametrize(
    ("shape", "memory_format"),
    [((2, 4, 3, 6), torch.channels_last), ((2, 4, 5, 3, 6), torch.channels_last_3d)],
)
@pytest.mark.parametrize("num_pieces", [1, 2, 3])
def test_the_memory_format_is_kept(
    shape: tuple[int, ...], memory_format: torch.memory_format, num_pieces: int
) -> None:
    """As by torch.nn.PReLU; values and gradients are those of contiguous inputs."""
    activation = Maxout(num_pieces)
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
    activation = Maxout(2)
    x = torch.randn(6, 6, 6).permute(permuted)
    assert torch.equal(activation(x), activation(x.contiguous()))


@pytest.mark.parametrize("num_pieces", PIECES)
def test_a_symbolic_trace_is_equal(num_pieces: int) -> None:
    """Also on more than two axes."""
    module = Maxout(num_pieces)
    traced = torch.fx.symbolic_trace(module)
    for leading in AXES:
        z = torch.randn(*leading, 4 * num_pieces)
        assert torch.equal(traced(z), module(z))


def test_the_number_of_pieces_is_named() -> None:
    with pytest.raises(ValueError, match=r"^num_pieces must be a positive integer, got 0"):
        contiguous_pieces(torch.zeros(4), num_pieces=0)
    with pytest.raises(ValueError, match=r"^parameter must be a tensor whose first axis .* \(5,\)"):
        contiguous_pieces(torch.zeros(5), num_pieces=2)
    with pytest.raises(ValueError, match=r"^parameter must be a tensor whose first axis .* \(\)"):
        contiguous_pieces(torch.zeros(()), num_pieces=1)
    assert contiguous_pieces(torch.arange(3), num_pieces=1).tolist() == [0, 1, 2]
