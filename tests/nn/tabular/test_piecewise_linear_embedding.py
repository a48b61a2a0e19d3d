"""PiecewiseLinearEmbedding against the equation in plain Python, and its quantiles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from mlpkit.nn import PiecewiseLinearEmbedding, quantile_edges

F64 = torch.float64
EDGES = [
    torch.tensor([-1.0, 0.0, 0.5, 4.0], dtype=F64),
    torch.tensor([2.0, 3.0], dtype=F64),
    torch.tensor([0.0, 10.0, 11.0], dtype=F64),
]


def pieces(x: float, edges: Sequence[float], count: int) -> list[float]:
    """Equation 1 of the paper for one number, filled with zeros to ``count``."""
    found, last = [], len(edges) - 1
    for t in range(1, last + 1):
        if x < edges[t - 1] and t > 1:
            found.append(0.0)
        elif x >= edges[t] and t < last:
            found.append(1.0)
        else:
            found.append((x - edges[t - 1]) / (edges[t] - edges[t - 1]))
    return found + [0.0] * (count - last)


def embedding(edges: Sequence[Tensor] = EDGES) -> PiecewiseLinearEmbedding:
    generator = torch.Generator().manual_seed(0)
    return PiecewiseLinearEmbedding(edges, embedding_dim=2, dtype=F64, generator=generator)


def test_encodes_as_in_the_paper_also_on_and_beyond_the_edges() -> None:
    values = torch.tensor([-100.0, -1, -0.25, 0, 0.25, 0.5, 2, 2.5, 3, 4, 10, 10.5, 11, 90])
    x = values.double()[:, None].expand(-1, 3)
    expected = [[pieces(value, edges.tolist(), 3) for edges in EDGES] for value in values.tolist()]
    torch.testing.assert_close(
        embedding().encode(x), torch.tensor(expected, dtype=F64), rtol=1e-14, atol=1e-14
    )


@pytest.mark.parametrize("leading", [(), (4,), (2, 3)], ids=str)
def test_the_output_is_a_linear_map_of_the_encoding(leading: tuple[int, ...]) -> None:
    module = embedding()
    x = 5 * torch.randn(*leading, 3, dtype=F64)
    e = module.encode(x)
    expected = [e[..., i, :] @ module.weight[i] + module.bias[i] for i in range(3)]
    actual = module(x)
    assert actual.shape == (*leading, module.out_features)
    torch.testing.assert_close(actual, torch.cat(expected, -1))


def test_gradcheck() -> None:
    module = embedding()

    def function(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        values = {"weight": weight, "bias": bias}
        found: Tensor = torch.func.functional_call(module, values, (x,))
        return found

    x = torch.tensor([[0.3, 2.2, 12.0], [-3.0, 1.0, 7.0]], dtype=F64, requires_grad=True)
    learned = [value.detach().clone().requires_grad_() for value in (module.weight, module.bias)]
    assert torch.autograd.gradcheck(function, (x, *learned))


def test_its_state_is_finite_and_its_group_has_no_decay() -> None:
    module = embedding()
    assert all(bool(value.isfinite().all()) for value in module.state_dict().values())
    (group,) = module.param_groups(weight_decay=0.1)
    assert (len(group.params), group.weight_decay, group.lr_factor) == (2, 0.0, 1.0)


def test_quantile_edges_are_the_distinct_quantiles_of_numpy() -> None:
    values = np.random.default_rng(0).normal(size=(50, 3))
    values[:, 1] = np.round(values[:, 1])
    values[:, 2] = 4.0
    found = quantile_edges(torch.from_numpy(values), num_pieces=8)
    levels = np.linspace(0, 1, 9)
    for column, edges in zip(values.T[:2], found, strict=False):
        expected = np.unique(np.quantile(column, levels))
        np.testing.assert_allclose(edges.numpy(), expected, rtol=1e-12)
    assert found[2].tolist() == [3.5, 4.5]


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([], "edges must be of one feature or more"),
        ([torch.tensor([1.0])], r"edges\[0\] must be two increasing finite numbers"),
        ([EDGES[0], torch.tensor([1.0, 1.0])], r"edges\[1\] must be two increasing"),
        ([torch.tensor([0.0, torch.inf])], r"edges\[0\] must be two increasing finite numbers"),
        ([torch.tensor([-torch.inf, 0.0])], r"edges\[0\] must be two increasing finite"),
        ([torch.tensor([0.0, 1e-320], dtype=F64)], "edges must be further apart than"),
    ],
)
def test_refuses_edges_without_pieces(edges: list[Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        embedding(edges)


def test_refuses_inputs_without_quantiles() -> None:
    with pytest.raises(ValueError, match="inputs must be of shape"):
        quantile_edges(torch.zeros(0, 2))
    with pytest.raises(ValueError, match="inputs must be finite, got NaN or infinity"):
        quantile_edges(torch.tensor([[torch.inf]]))
