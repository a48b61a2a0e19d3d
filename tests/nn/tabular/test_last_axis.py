"""The check of the number of features, through a layer that has it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mlpkit.nn import FeatureScaling


@pytest.mark.parametrize("shape", [(), (2,), (3, 2), (3, 4)], ids=str)
def test_refuses_another_number_of_features(shape: tuple[int, ...]) -> None:
    """One feature too few or too many would broadcast or fail far from its cause."""
    with pytest.raises(ValueError, match=r"x must be a tensor of shape \(\*, 3\), got \("):
        FeatureScaling(3)(torch.zeros(shape))


def test_a_symbolic_trace_omits_it() -> None:
    traced = torch.fx.symbolic_trace(nn.Sequential(FeatureScaling(3)))
    assert traced(torch.ones(2, 3)).tolist() == [[1.0] * 3] * 2
