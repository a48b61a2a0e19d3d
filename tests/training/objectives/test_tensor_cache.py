"""Numbers of an objective as tensors: created once, and usable in every mode."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mlpkit.training import (
    BinaryCrossEntropy,
    MeanSquaredError,
    OutputObjective,
    ScaledTargets,
)

OBJECTIVES = [
    BinaryCrossEntropy(pos_weight=2.0),
    BinaryCrossEntropy(pos_weight=(2.0, 3.0)),
    ScaledTargets(MeanSquaredError(), scale=2.0),
    ScaledTargets(MeanSquaredError(), scale=(2.0, 3.0)),
]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_no_number_is_copied_to_the_device_twice(
    objective: OutputObjective, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CUDA graph cannot capture such a copy; the warmup steps make it."""
    outputs, targets = torch.zeros(3, 2, requires_grad=True), torch.ones(3, 2)
    expected = objective.loss(outputs, targets)

    def copied(*_arguments: object, **_options: object) -> Tensor:
        raise AssertionError("a number was copied")

    monkeypatch.setattr(torch, "tensor", copied)
    monkeypatch.setattr(torch, "as_tensor", copied)
    loss = objective.loss(outputs, targets)
    torch.autograd.backward(loss.sum())
    assert torch.equal(loss, expected)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_an_evaluation_before_the_training_does_no_harm(objective: OutputObjective) -> None:
    """Autograd cannot save a tensor that was created in inference mode."""
    outputs, targets = torch.zeros(4, 2, dtype=torch.float64), torch.ones(4, 2)
    with torch.inference_mode():
        before = objective.loss(outputs, targets)
    leaf = outputs.requires_grad_()
    loss = objective.loss(leaf, targets)
    torch.autograd.backward(loss.sum())
    assert torch.equal(loss, before)


def test_each_dtype_has_its_tensor() -> None:
    objective = BinaryCrossEntropy(pos_weight=(0.1, 0.3))
    for dtype in (torch.float32, torch.float64):
        outputs, targets = torch.zeros(1, 2, dtype=dtype), torch.ones(1, 2, dtype=dtype)
        expected = torch.tensor((0.1, 0.3), dtype=dtype) * torch.tensor(2.0, dtype=dtype).log()
        torch.testing.assert_close(objective.loss(outputs, targets)[0], expected.mean())
