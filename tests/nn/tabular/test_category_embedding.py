"""CategoryEmbedding against a loop, and its gradient against counts."""

from __future__ import annotations

import pytest
import torch

from mlpkit.nn import CategoryEmbedding

COUNTS = (4, 1, 3)


def embedding() -> CategoryEmbedding:
    generator = torch.Generator().manual_seed(0)
    return CategoryEmbedding(COUNTS, embedding_dim=2, dtype=torch.float64, generator=generator)


def test_equals_the_definition_also_for_unknown_codes() -> None:
    module = embedding()
    values = [-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 4.0, float("nan"), float("inf")]
    rows = [[values[(2 * i + j) % 9] for j in range(3)] for i in range(9)]
    starts, table = (0, 4, 5), module.weight.tolist()
    expected = [
        [
            number
            for value, count, start in zip(row, COUNTS, starts, strict=True)
            for number in (table[start + int(value)] if value in range(count) else [0.0, 0.0])
        ]
        for row in rows
    ]
    assert module(torch.tensor(rows, dtype=torch.float64)).tolist() == expected


def test_the_gradient_of_a_vector_is_the_sum_over_its_rows() -> None:
    module = embedding()
    x = torch.tensor([[3.0, 0.0, -1.0], [3.0, 5.0, 2.0]], dtype=torch.float64)
    (grad,) = torch.autograd.grad(module(x).sum(), module.weight)
    assert grad[:, 0].tolist() == [0, 0, 0, 2, 1, 0, 0, 1]


def test_vmap_over_members_equals_a_loop() -> None:
    """fit_many trains several networks so."""
    module, x = embedding(), torch.tensor([[1.0, 0.0, 7.0]], dtype=torch.float64)
    weights = torch.randn(5, *module.weight.shape, dtype=torch.float64)
    found = torch.vmap(lambda w: torch.func.functional_call(module, {"weight": w}, (x,)))(weights)
    for weight, each in zip(weights, found, strict=True):
        module.load_state_dict({**module.state_dict(), "weight": weight})
        assert torch.equal(module(x), each)


def test_the_first_vectors_are_standard_normal_without_decay() -> None:
    module = CategoryEmbedding((5000,), generator=torch.Generator().manual_seed(0))
    assert module.weight.std().item() == pytest.approx(1.0, rel=0.02)
    (group,) = module.param_groups(weight_decay=0.1)
    assert (len(group.params), group.weight_decay, group.lr_factor) == (1, 0.0, 1.0)


def test_refuses_values_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"num_categories\[0\] must be a positive integer, got 0"):
        CategoryEmbedding((0,))
    with pytest.raises(ValueError, match="embedding_dim must be a positive integer, got 0"):
        CategoryEmbedding((4,), embedding_dim=0)
