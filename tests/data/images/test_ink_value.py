"""The value of full ink, inferred from the mean and standard deviation of common data sets."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mlpkit.data import digits
from mlpkit.data.images import full_ink_value


@pytest.mark.parametrize("scale", [1 / 16, 1.0, 255 / 16])
@pytest.mark.parametrize("per_pixel", [False, True])
def test_the_digits_in_three_units(scale: float, per_pixel: bool) -> None:
    """Mean and standard deviation of the digits give 1, 16 or 255, whichever their unit is."""
    inputs = digits().train.inputs.double().flatten(1) * scale
    mean = inputs.mean(dim=0) if per_pixel else inputs.mean()
    std = inputs.std(dim=0) if per_pixel else inputs.std()
    assert full_ink_value(mean, std) == 16 * scale


def test_the_bound_is_that_of_a_two_valued_variable() -> None:
    """Values of 0 and M attain the bound m + s^2 / m = M of Bhatia and Davis."""
    for largest in (0.5, 1.0, 2.0, 16.0, 17.0, 255.0):
        values = torch.tensor([0.0, 0.0, largest], dtype=torch.float64)
        expected = 1.0 if largest <= 1 else 16.0 if largest <= 16 else 255.0
        assert full_ink_value(values.mean(), values.std(correction=0)) == expected


@pytest.mark.parametrize("std", [16.0, 255.0])
def test_inputs_that_are_only_divided(std: float) -> None:
    """With a mean of 0, a standard deviation of 16 or 255 is the value of full ink."""
    assert full_ink_value(torch.zeros(3), torch.full((3,), std)) == std


def test_the_largest_value_raises_the_result() -> None:
    """Known raw values are a lower bound of full ink, and can determine it alone."""
    assert full_ink_value(torch.tensor(0.1), torch.tensor(0.2), largest=200.0) == 255.0
    assert full_ink_value(torch.zeros(()), torch.ones(()), largest=9.0) == 16.0


@pytest.mark.parametrize(
    ("mean", "std", "largest"),
    [
        (torch.zeros(4), torch.ones(4), 0.0),
        (torch.tensor(-1.0), torch.tensor(2.0), 0.0),
        (torch.tensor(3000.0), torch.tensor(500.0), 0.0),
        (torch.tensor(0.1), torch.tensor(0.2), 300.0),
    ],
)
def test_an_undetermined_value_is_refused(mean: Tensor, std: Tensor, largest: float) -> None:
    """No common value fits, or nothing is known but that inputs are not standardized."""
    with pytest.raises(
        ValueError, match="ink must be the raw value of full ink, got None; pass it"
    ):
        full_ink_value(mean, std, largest=largest)
