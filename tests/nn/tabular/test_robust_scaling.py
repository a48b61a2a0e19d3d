"""RobustScaling against NumPy's quantiles and the equation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from mlpkit.nn import RobustScaling

F64 = torch.float64


Matrix = npt.NDArray[np.float64]


def by_hand(train: Matrix, x: Matrix, limit: float) -> Matrix:
    """The definition, feature by feature."""
    columns = []
    for feature in range(train.shape[1]):
        values = train[:, feature]
        spread = np.quantile(values, 0.75) - np.quantile(values, 0.25)
        if spread == 0:
            spread = (values.max() - values.min()) / 2
        z = 0 * x[:, feature] if spread == 0 else (x[:, feature] - np.median(values)) / spread
        columns.append(z / np.sqrt(1 + (z / limit) ** 2))
    return np.stack(columns, 1)


@pytest.mark.parametrize("rows", [1, 2, 5, 100])
@pytest.mark.parametrize("limit", [3.0, 0.5])
def test_equals_numpy(rows: int, limit: float) -> None:
    """Also for a constant feature, and one of which three quarters are equal."""
    generator = np.random.default_rng(rows)
    train = generator.lognormal(sigma=3.0, size=(rows, 4)) - 5
    train[:, 1] = 7.25
    train[: rows - rows // 5, 2] = 1.5
    x = generator.normal(scale=10.0, size=(20, 4))
    scaling = RobustScaling.for_data(torch.from_numpy(train), limit=limit, dtype=F64)
    actual = scaling(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(actual, by_hand(train, x, limit), rtol=1e-12, atol=1e-12)
    assert (actual[:, 1] == 0).all()


def test_gradcheck() -> None:
    scaling = RobustScaling(torch.tensor([1.0, -2.0], dtype=F64), torch.tensor([0.5, 3], dtype=F64))
    x = torch.randn(3, 2, dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(scaling, (x,))


def test_is_the_identity_near_the_center_and_bounded() -> None:
    scaling = RobustScaling(torch.zeros(1), torch.ones(1))
    assert scaling(torch.tensor([1e-4])).item() == pytest.approx(1e-4, rel=1e-6)
    assert scaling(torch.tensor([[1e30], [-1e9]])).abs().max().item() <= 3.0


def test_has_no_parameters_and_a_finite_state() -> None:
    scaling = RobustScaling.for_data(torch.tensor([[1.0, 5.0], [2.0, 5.0]]))
    assert not list(scaling.parameters())
    state = scaling.state_dict()
    assert set(state) == {"center", "factor", "remainder"}
    assert all(bool(value.isfinite().all()) for value in state.values())


def test_integers_and_float64_are_centered_before_rounding() -> None:
    """float32 does not distinguish 2**24 from 2**24 + 1, but their difference from the median."""
    rows = 2**24 + torch.tensor([[0], [1], [2], [3], [4]])
    found = RobustScaling.for_data(rows.double())(rows.double())
    assert found.dtype is torch.float32
    assert len(set(found.flatten().tolist())) == 5


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (torch.zeros(0, 2), r"inputs must be of shape \(N, features\)"),
        (torch.zeros(3), r"inputs must be of shape \(N, features\)"),
        (torch.tensor([[1.0], [torch.nan]]), "inputs must be finite, got NaN or infinity; replace"),
    ],
)
def test_refuses_inputs_without_quantiles(inputs: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RobustScaling.for_data(inputs)


@pytest.mark.parametrize(
    ("center", "factor", "error", "message"),
    [
        (torch.zeros(2), torch.ones(3), ValueError, r"factor must be of shape \(features,\)"),
        (torch.zeros(1, 2), torch.ones(1, 2), ValueError, "center must be of shape"),
        (torch.zeros(2), -torch.ones(2), ValueError, "factor must be at least 0, got -1.0"),
        (torch.full((2,), torch.nan), torch.ones(2), ValueError, "center must be finite"),
        (torch.zeros(2).long(), torch.ones(2), TypeError, "center must be a floating-point tensor"),
    ],
)
def test_refuses_statistics_that_do_not_fit(
    center: torch.Tensor, factor: torch.Tensor, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        RobustScaling(center, factor)
    with pytest.raises(ValueError, match="limit must be a finite number greater than 0"):
        RobustScaling(torch.zeros(1), torch.ones(1), limit=0.0)


@pytest.mark.parametrize("offset", [0.0, 1.7e9 + 100.5])
def test_a_center_that_float32_cannot_represent(offset: float) -> None:
    """Time stamps in seconds: the oracle subtracts the offset in float64 first."""
    numbers = torch.tensor([[0.0], [0.25], [1.1], [2.0], [7.0]], dtype=torch.float64)
    scaling = RobustScaling.for_data(numbers + offset)
    expected = RobustScaling.for_data(numbers)(numbers)
    torch.testing.assert_close(scaling(numbers + offset), expected, rtol=1e-6, atol=1e-6)
    assert bool(scaling.remainder.any()) == bool(offset)


def test_a_remainder_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"remainder must be of shape \(features,\), like"):
        RobustScaling(torch.zeros(2), torch.ones(2), remainder=torch.zeros(3))


def test_integers_beyond_2_24_are_scaled_as_in_float64() -> None:
    seconds = 1_700_000_000 + torch.arange(0, 400, 100)[:, None]
    scaling = RobustScaling.for_data(seconds)
    torch.testing.assert_close(scaling(seconds), scaling(seconds.double()), rtol=0.0, atol=0.0)
