"""Mean and standard deviation of raw inputs, as NumPy computes them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mlpkit.models._standardize import check_statistic, mean_and_std

LIKE = torch.zeros(2, dtype=torch.float32)


@pytest.mark.parametrize(
    "inputs",
    [
        torch.randint(0, 256, (20_001, 3), dtype=torch.uint8),
        torch.randn(20_001, 3) * 7 + 100,
        torch.randn(9, 2, 2, dtype=torch.float64),
        torch.randint(-9, 9, (50, 4)),
        torch.randn(100, 2).to(torch.bfloat16),
    ],
    ids=lambda inputs: str(inputs.dtype),
)
def test_they_are_those_of_all_values_in_float64(inputs: Tensor) -> None:
    """Over more rows than are converted at once."""
    values = inputs.double().numpy()
    mean, std = mean_and_std(inputs)
    assert mean == pytest.approx(float(np.mean(values)), rel=1e-9, abs=1e-12)
    assert std == pytest.approx(float(np.std(values)), rel=1e-9)


@pytest.mark.parametrize("offset", [1.7e9, -1.7e12])
def test_a_large_mean_does_not_cancel_the_variance(offset: float) -> None:
    """Oracle: NumPy, which subtracts the mean before it squares."""
    inputs = offset + torch.arange(20_001, dtype=torch.float64)[:, None] % 201
    mean, std = mean_and_std(inputs)
    assert mean == pytest.approx(float(np.mean(inputs.numpy())), rel=1e-12)
    assert std == pytest.approx(float(np.std(inputs.numpy())), rel=1e-9)
    assert mean_and_std(inputs.long()) == (mean, std)


@pytest.mark.parametrize("value", [0.1, 1e-3, 1.7e9, -3e20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_constant_that_is_no_binary_fraction_has_std_1(value: float, dtype: torch.dtype) -> None:
    assert mean_and_std(torch.full((20_001, 3), value, dtype=dtype))[1] == 1.0


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_constant_has_std_1(dtype: torch.dtype) -> None:
    assert mean_and_std(torch.full((4, 2), 7, dtype=dtype)) == (7.0, 1.0)


def test_no_value_is_refused() -> None:
    with pytest.raises(ValueError, match=r"train must be one example or more, got \(0, 3\)"):
        mean_and_std(torch.zeros(0, 3))


def test_a_statistic_is_copied_and_flattened() -> None:
    """One number or one for each feature, in the dtype of the network."""
    given = torch.arange(6.0).view(2, 3)
    found = check_statistic("mean", given, 6, LIKE)
    assert torch.equal(found, torch.arange(6.0))
    given.zero_()
    assert found[5] == 5.0
    one = check_statistic("std", 2, 6, LIKE)
    assert (one.shape, one.dtype, float(one)) == ((), torch.float32, 2.0)
    wide = torch.ones(6, dtype=torch.float64)
    assert check_statistic("std", wide, 6, LIKE).dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("mean", torch.zeros(5), r"mean must be one number or one for each of 6 features, got \(5"),
        ("std", torch.tensor([1.0]), "std must be one number or one for each of 6 features"),
        ("mean", float("inf"), "mean must be finite, got inf"),
        ("std", torch.tensor([1.0, 1, 1, 1, 1, 0]), "std must be positive, .*leave constant"),
        ("std", -1.0, r"std must be positive, got -1\.0"),
    ],
)
def test_a_statistic_that_does_not_fit_is_refused(
    name: str, value: float | Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_statistic(name, value, 6, LIKE)
