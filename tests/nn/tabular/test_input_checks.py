"""The checks of inputs, through layers that have them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from mlpkit.nn import FeatureEmbedding, FeatureScaling, RobustScaling, quantile_edges


@pytest.mark.parametrize("shape", [(), (2,), (3, 2), (3, 4)], ids=str)
def test_refuses_another_number_of_features(shape: tuple[int, ...]) -> None:
    """One feature too few or too many would broadcast or fail far from its cause."""
    with pytest.raises(ValueError, match=r"x must be a tensor of shape \(\*, 3\), got \("):
        FeatureScaling(3)(torch.zeros(shape))


def test_a_symbolic_trace_omits_it() -> None:
    traced = torch.fx.symbolic_trace(nn.Sequential(FeatureScaling(3)))
    assert traced(torch.ones(2, 3)).tolist() == [[1.0] * 3] * 2


@pytest.mark.parametrize("fit", [FeatureEmbedding, RobustScaling.for_data, quantile_edges])
def test_training_inputs_are_rows_of_a_tensor(fit: Callable[[object], object]) -> None:
    with pytest.raises(TypeError, match=r"inputs must be a tensor, got array.*as_tensor"):
        fit(np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"inputs must be of shape \(N, features\) with one exam"):
        fit(torch.zeros(0, 2))
    with pytest.raises(ValueError, match="inputs must be on a device that holds values, got 'meta"):
        fit(torch.zeros(3, 2, device="meta"))


def test_training_inputs_may_be_on_another_device_than_new_tensors() -> None:
    inputs = torch.rand(9, 2)
    expected = RobustScaling.for_data(inputs)
    with torch.device("meta"):
        found = RobustScaling.for_data(inputs)
    assert torch.equal(found.factor, expected.factor)
