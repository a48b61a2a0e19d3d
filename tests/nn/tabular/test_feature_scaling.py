"""FeatureScaling against its equation."""

from __future__ import annotations

import pytest
import torch

from mlpkit.nn import FeatureScaling


def test_equals_the_equation_with_its_gradients() -> None:
    scaling = FeatureScaling(3, dtype=torch.float64)
    factors = torch.tensor([2.0, -0.5, 0.0], dtype=torch.float64)
    scaling.load_state_dict({"weight": factors})
    x = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    y = scaling(x)
    assert torch.equal(y, torch.einsum("abf,f->abf", x, factors))
    upstream = torch.randn_like(y)
    grad_x, grad_weight = torch.autograd.grad(y, (x, scaling.weight), upstream)
    torch.testing.assert_close(grad_x, upstream * factors)
    torch.testing.assert_close(grad_weight, (upstream * x).sum((0, 1)))


def test_starts_as_the_identity_and_is_reset() -> None:
    scaling = FeatureScaling(2)
    assert scaling.weight.tolist() == [1.0, 1.0]
    scaling.load_state_dict({"weight": torch.zeros(2)})
    scaling.reset_parameters()
    assert scaling.weight.tolist() == [1.0, 1.0]


def test_its_group_has_no_decay_and_the_factor() -> None:
    (group,) = FeatureScaling(2, lr_factor=4.0).param_groups(weight_decay=0.1)
    assert (len(group.params), group.weight_decay, group.lr_factor) == (1, 0.0, 4.0)


def test_refuses_values_out_of_range() -> None:
    with pytest.raises(ValueError, match="num_features must be a positive integer, got 0"):
        FeatureScaling(0)
    with pytest.raises(ValueError, match="lr_factor must be a finite number greater than 0"):
        FeatureScaling(1, lr_factor=0.0)
