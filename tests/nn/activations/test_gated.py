"""The gated units against their equations, element by element."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlpkit.nn import GEGLU, GLU, ReGLU, SwiGLU

Unit = GLU | ReGLU | GEGLU | SwiGLU

GATES: dict[type[Unit], Callable[[float], float]] = {
    GLU: lambda g: 1 / (1 + math.exp(-g)),
    ReGLU: lambda g: max(g, 0.0),
    GEGLU: lambda g: g * 0.5 * (1 + math.erf(g / math.sqrt(2))),
    SwiGLU: lambda g: g / (1 + math.exp(-g)),
}
UNITS = list(GATES)


@pytest.mark.parametrize("leading", [(), (3,), (2, 3), (2, 1, 3)], ids=str)
@pytest.mark.parametrize("unit", UNITS)
def test_equals_the_equation_the_second_half_is_the_gate(
    unit: type[Unit], leading: tuple[int, ...]
) -> None:
    x = torch.randn(*leading, 8, dtype=torch.float64)
    expected = [
        value * GATES[unit](gate)
        for row in x.reshape(-1, 8).tolist()
        for value, gate in zip(row[:4], row[4:], strict=True)
    ]
    actual = unit()(x)
    assert actual.shape == (*leading, 4)
    torch.testing.assert_close(actual.reshape(-1), torch.tensor(expected, dtype=torch.float64))


def test_glu_is_that_of_torch() -> None:
    x = torch.randn(2, 3, 8, dtype=torch.float64, requires_grad=True)
    actual, expected = GLU()(x), F.glu(x, dim=-1)
    torch.testing.assert_close(actual, expected)
    (got,) = torch.autograd.grad(actual.square().sum(), x)
    (wanted,) = torch.autograd.grad(expected.square().sum(), x)
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("unit", UNITS)
def test_gradcheck(unit: type[Unit]) -> None:
    x = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(unit(), (x,))


@pytest.mark.parametrize("unit", UNITS)
def test_the_expansion_is_two(unit: type[Unit]) -> None:
    assert unit().expansion == 2


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("shape", [(), (3,), (2, 5)], ids=str)
def test_an_odd_last_axis_is_refused(unit: type[Unit], shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match=r"input must be a tensor whose last axis has an even size, got \("
    ):
        unit()(torch.ones(shape))


@pytest.mark.parametrize("unit", UNITS)
def test_keeps_the_dtype_under_autocast(unit: type[Unit]) -> None:
    for dtype in (torch.float64, torch.bfloat16):
        x = torch.randn(2, 6, dtype=dtype)
        assert unit()(x).dtype is dtype
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert unit()(x).dtype is dtype


@pytest.mark.parametrize("unit", UNITS)
def test_copies_pickles_compiles_and_exports(unit: type[Unit]) -> None:
    module = unit()
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(module, (torch.randn(3, 8),), dynamic_shapes=({0: batch},))
    copies: list[Callable[[Tensor], Tensor]] = [
        copy.deepcopy(module),
        pickle.loads(pickle.dumps(module)),
        torch.compile(module, backend="eager", fullgraph=True),
        program.module(),
        lambda x: nn.Sequential(module)(x),
    ]
    for size in (1, 5):
        x = torch.randn(size, 8)
        for other in copies:
            torch.testing.assert_close(other(x), module(x), rtol=0, atol=0)
