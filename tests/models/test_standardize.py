"""Mean and standard deviation of raw inputs, as NumPy computes them."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch
from torch import Tensor

from mlpkit.models._standardize import (
    check_statistic,
    feature_mean_and_std,
    find_remainder,
    mean_and_std,
    measure_inputs,
)

preprocessing = importlib.import_module("sklearn.preprocessing")  # it has no type hints

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


TABLES = {
    "uint8": torch.randint(0, 256, (20_001, 3), dtype=torch.uint8),
    "unequal scales": torch.randn(5000, 4) * torch.tensor([1e-5, 1.0, 1e4, 1e8]) + 7,
    "int64 near 1.7e9": torch.randint(0, 200, (999, 2)) + 1_700_000_000,
    "float64 near 1.7e12": torch.randint(0, 200, (999, 2)).double() + 1.7e12,
    "bool": torch.rand(50, 3) > 0.5,
    "images": torch.rand(40, 2, 5),
    "wide": torch.rand(50, 200_000) + 3,
}


@pytest.mark.parametrize("name", list(TABLES))
def test_the_statistics_of_each_feature_are_those_of_a_standard_scaler(name: str) -> None:
    inputs = TABLES[name]
    scaler = preprocessing.StandardScaler().fit(inputs.flatten(1).double().numpy())
    mean, std = feature_mean_and_std(inputs)
    assert (mean.dtype, std.dtype) == (torch.float64, torch.float64)
    np.testing.assert_allclose(mean.numpy(), scaler.mean_, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(std.numpy(), scaler.scale_, rtol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [1, 20_001])
def test_a_constant_feature_has_its_value_as_mean_and_std_1(dtype: torch.dtype, rows: int) -> None:
    """Also where the mean of equal numbers is not one of them in floating-point."""
    values = torch.tensor([0.1, 1e-3, 1.7e9, -3e20, 0.0], dtype=dtype)
    mean, std = feature_mean_and_std(values.expand(rows, 5))
    assert torch.equal(mean, values.double())
    assert torch.equal(std, torch.ones(5, dtype=torch.float64))


def test_the_shape_decides_what_is_standardized_together() -> None:
    vectors, images = torch.rand(9, 4) * 7, torch.rand(9, 2, 2) * 7
    each = feature_mean_and_std(vectors)
    everything = mean_and_std(images)
    for how, inputs, expected in (
        ("auto", vectors, each),
        ("feature", vectors, each),
        ("global", vectors, mean_and_std(vectors)),
        ("auto", images, everything),
        ("feature", images, feature_mean_and_std(images)),
        (None, images, (0.0, 1.0)),
    ):
        found = measure_inputs(inputs, how, torch.float32)  # type: ignore[arg-type]  # mypy widens it
        assert found.input_shape == tuple(inputs.shape[1:])
        for one, other in zip(found[:2], expected, strict=True):
            assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))


def test_a_std_that_is_0_in_the_dtype_of_the_weights_is_1() -> None:
    """Float32 has no 1e-50; float64 has."""
    inputs = torch.tensor([[0.0, 1.0], [1e-50, 2.0]], dtype=torch.float64)
    for how in ("feature", "global"):
        found = measure_inputs(inputs[:, :1], how, torch.float32)
        assert float(found.std) == 1.0
        found = measure_inputs(inputs[:, :1], how, torch.float64)
        assert float(found.std) == pytest.approx(5e-51)
    assert torch.as_tensor(measure_inputs(inputs, "auto", torch.float32).std).tolist() == [1.0, 0.5]


@pytest.mark.parametrize(
    ("inputs", "how", "message"),
    [
        (torch.rand(5), "auto", r"train\.inputs must be of shape \(N, \.\.\.\) .*unsqueeze\(1\)"),
        (torch.rand(5, 2), "each", r"standardize must be one of 'auto', 'feature', 'global', got"),
        (torch.rand(0, 2), "auto", r"train must be one example or more, got \(0, 2\)"),
        (torch.rand(0, 2), "global", r"train must be one example or more, got \(0, 2\)"),
    ],
)
def test_what_cannot_be_measured_is_refused(inputs: Tensor, how: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure_inputs(inputs, how, torch.float32)  # type: ignore[arg-type]  # bad on purpose


def test_the_remainder_is_what_rounding_loses_and_none_if_it_is_negligible() -> None:
    """Oracle: NumPy in float64."""
    exact = torch.tensor([1.7e9 + 100.5, 0.1, 1e6 + 0.03], dtype=torch.float64)
    rounded, std = exact.float(), torch.tensor([58.0, 1.0, 1.0])
    lost = exact.numpy() - rounded.numpy().astype(np.float64)
    found = find_remainder(exact, rounded, std)
    assert found is not None
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), [lost[0], 0.0, lost[2]], rtol=1e-6)
    assert find_remainder(exact[1:2], rounded[1:2], std[1:2]) is None
    assert find_remainder(0.1, torch.tensor(0.1), torch.tensor(1.0)) is None
    assert find_remainder(exact, rounded.to("meta"), std) is None
    pixels = torch.tensor(72.94)  # Fashion-MNIST; bfloat16 has steps of 0.5 there
    assert find_remainder(pixels, pixels.bfloat16(), torch.tensor(90.0)) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_differences_that_are_rounding_are_constant(dtype: torch.dtype) -> None:
    """Shares sum to 1 up to rounding, which another dtype of the same rows rounds otherwise."""
    shares = torch.rand(500, 7, dtype=dtype)
    sums = 0.3 * (shares / shares.sum(1, keepdim=True)).sum(1, keepdim=True)
    assert len(set(sums.flatten().tolist())) > 1
    mean, std = feature_mean_and_std(sums)
    assert float(mean) == pytest.approx(0.3, rel=1e-6)
    assert float(std) == 1.0
    assert mean_and_std(sums)[1] == 1.0


def test_complex_inputs_are_refused_before_training() -> None:
    with pytest.raises(TypeError, match=r"inputs must be of real numbers, got torch\.complex64"):
        measure_inputs(torch.zeros(3, 2, dtype=torch.complex64), None, torch.float32)
