"""OneHot against a loop over rows and categories."""

from __future__ import annotations

import pytest
import torch

from mlpkit.nn import OneHot


def loop(x: list[float], counts: tuple[int, ...]) -> list[float]:
    """The definition, category by category."""
    out: list[float] = []
    for value, count in zip(x, counts, strict=True):
        hits = [float(value == code) for code in range(count)]
        out += [hits[1] - hits[0]] if count == 2 else hits
    return out


@pytest.mark.parametrize("counts", [(3,), (2,), (1, 2, 5, 2)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_the_definition_also_for_unknown_codes(
    counts: tuple[int, ...], dtype: torch.dtype
) -> None:
    values = [-1.0, 0.0, 0.5, 1.0, 2.0, 4.0, 5.0, 1e9, float("nan")]
    rows = [[values[(3 * i + j) % 9] for j in range(len(counts))] for i in range(9)]
    module = OneHot(counts, dtype=dtype)
    actual = module(torch.tensor(rows, dtype=dtype))
    assert actual.dtype is dtype
    assert actual.shape[1] == module.out_features
    assert actual.tolist() == [loop(row, counts) for row in rows]


def test_keeps_leading_axes() -> None:
    assert OneHot((3, 2))(torch.zeros(2, 5, 2)).shape == (2, 5, 4)


def test_refuses_numbers_below_one() -> None:
    with pytest.raises(ValueError, match=r"num_categories\[1\] must be a positive integer, got 0"):
        OneHot((3, 0))
    with pytest.raises(ValueError, match=r"len\(num_categories\) must be a positive integer"):
        OneHot(())


def test_codes_are_exact_in_half_precision() -> None:
    """Codes of 2,998 and 2,999 are the same number in bfloat16, which the buffer is not in."""
    one_hot = OneHot((3000,)).to(torch.bfloat16)
    found = one_hot(torch.tensor([[2999.0], [3.0]]))
    assert found.dtype is torch.bfloat16
    assert found.argmax(1).tolist() == [2999, 3]
    assert found.sum(1).tolist() == [1.0, 1.0]
