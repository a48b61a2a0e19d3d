"""PeriodicEmbedding against a loop over features and frequencies."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mlpkit.nn import PeriodicEmbedding

F64 = torch.float64


def embedding(seed: int = 0) -> PeriodicEmbedding:
    generator = torch.Generator().manual_seed(seed)
    return PeriodicEmbedding(
        3, embedding_dim=4, num_frequencies=5, frequency_scale=1.0, dtype=F64, generator=generator
    )


def loop(module: PeriodicEmbedding, row: list[float]) -> list[float]:
    """The equation, number by number."""
    state = {name: value.tolist() for name, value in module.state_dict().items()}
    out = []
    for i, x in enumerate(row):
        waves = zip(state["frequency"][i], state["phase"][i], strict=True)
        h = [math.cos(2 * math.pi * (w * x + b)) for w, b in waves]
        out.append(x)
        for d, a in enumerate(state["bias"][i]):
            out.append(a + sum(h[j] * state["weight"][i][j][d] for j in range(len(h))))
    return out


@pytest.mark.parametrize("leading", [(), (4,), (2, 3)], ids=str)
def test_equals_the_equation(leading: tuple[int, ...]) -> None:
    module = embedding()
    x = torch.randn(*leading, 3, dtype=F64)
    expected = [loop(module, row) for row in x.reshape(-1, 3).tolist()]
    actual = module(x)
    assert actual.shape == (*leading, module.out_features)
    torch.testing.assert_close(actual.reshape(-1, 12), torch.tensor(expected, dtype=F64))


def test_gradcheck() -> None:
    module = embedding()
    names = list(module.state_dict())

    def function(x: Tensor, *values: Tensor) -> Tensor:
        found: Tensor = torch.func.functional_call(
            module, dict(zip(names, values, strict=True)), (x,)
        )
        return found

    x = torch.randn(2, 3, dtype=F64, requires_grad=True)
    values = [value.clone().requires_grad_() for value in module.state_dict().values()]
    assert torch.autograd.gradcheck(function, (x, *values))


def test_the_first_parameters_have_the_stated_distributions() -> None:
    module = PeriodicEmbedding(
        200, num_frequencies=25, generator=torch.Generator().manual_seed(0), frequency_scale=0.1
    )
    assert module.frequency.std().item() == pytest.approx(0.1, rel=0.05)
    assert module.phase.abs().max().item() == pytest.approx(0.5, abs=1e-3)
    for value in (module.weight, module.bias):
        assert value.abs().max().item() == pytest.approx(0.2, rel=0.01)  # 1 / sqrt(25)


def test_a_generator_determines_them() -> None:
    assert torch.equal(embedding(1).weight, embedding(1).weight)
    assert not torch.equal(embedding(1).weight, embedding(2).weight)


def test_its_group_has_no_decay_and_the_factor() -> None:
    (group,) = embedding().param_groups(weight_decay=0.1)
    assert (len(group.params), group.weight_decay, group.lr_factor) == (4, 0.0, 0.1)


def test_refuses_values_out_of_range() -> None:
    with pytest.raises(ValueError, match="embedding_dim must be an integer of at least 2, got 1"):
        PeriodicEmbedding(3, embedding_dim=1)
    with pytest.raises(ValueError, match="frequency_scale must be a finite number greater than 0"):
        PeriodicEmbedding(3, frequency_scale=0.0)
    with pytest.raises(ValueError, match=r"x must be a tensor of shape \(\*, 3\)"):
        embedding()(torch.zeros(2, 1, dtype=F64))
