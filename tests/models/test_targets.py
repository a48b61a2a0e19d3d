"""Shapes of targets."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from mlpkit.models._targets import check_target_shape, shaped


@pytest.mark.parametrize("shape", [(), (1,), (6,), (2, 3), (1, 6, 1)])
@pytest.mark.parametrize("leading", [(5,), (), (2, 5)])
def test_outputs_get_the_shape_of_the_targets(
    shape: tuple[int, ...], leading: tuple[int, ...]
) -> None:
    """Oracle: reshape, which needs the number of examples."""
    size = int(torch.tensor(shape).prod()) if shape else 1
    assert check_target_shape(list(shape), size) == shape
    outputs = torch.rand(*leading, size)
    assert torch.equal(shaped(outputs, shape), outputs.reshape((*leading, *shape)))


@pytest.mark.parametrize(
    ("shape", "outputs", "each", "message"),
    [
        ((2,), 3, 1, r"target_shape must be .* its 3 outputs, got \(2,\); give the network 2 out"),
        ((2,), 2, 2, r"target_shape must be .* its 2 outputs, .*give the network 2 for each of 2"),
        ((-1, -3), 3, 1, r"target_shape\[0\] must be a positive integer, got -1"),
        ((1.0,), 1, 1, r"target_shape\[0\] must be a positive integer, got 1\.0"),
        ((), None, 1, r"target_shape must be a shape for which the network has its None outputs"),
    ],
)
def test_a_shape_that_does_not_fit_the_network_is_refused(
    shape: Sequence[int], outputs: int | None, each: int, message: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        check_target_shape(shape, outputs, each)
