"""Batch norm over the parts of a batch; with one part it is torch's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mlpkit.nn import BatchNorm
from mlpkit.training._ranks import ALONE
from mlpkit.training.distributed import SynchronizedBatchNorm


class Scaled(nn.BatchNorm1d):
    """Batch norm that does more than to normalize."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's word
        return 2 * super().forward(input)


LAYERS = {
    "vectors": (nn.BatchNorm1d(3), (8, 3)),
    "sequences": (nn.BatchNorm1d(3, momentum=None), (5, 3, 4)),
    "images": (nn.BatchNorm2d(3, eps=0.1, momentum=0.3), (4, 3, 2, 2)),
    "features on the last axis": (BatchNorm(3), (4, 3, 3)),
    "in a subclass": (Scaled(3), (8, 3)),
    "without parameters": (nn.BatchNorm1d(3, affine=False), (8, 3)),
    "without statistics": (nn.BatchNorm1d(3, track_running_stats=False), (8, 3)),
}


def passes(layer: nn.Module, inputs: Tensor) -> list[Tensor]:
    """Return outputs and gradients of two passes in training and one in evaluation, and buffers."""
    found = []
    for is_training in (True, True, False):
        layer.train(is_training)
        x = inputs.clone().requires_grad_()
        y = layer(x)
        gradients = torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])
        found += [y, *gradients]
    return [*found, *layer.buffers()]


@pytest.mark.parametrize("name", LAYERS)
def test_one_part_is_normalized_as_by_torch(name: str) -> None:
    """Outputs, gradients and running statistics."""
    layer, shape = LAYERS[name]
    layer = layer.double()
    generator = torch.Generator().manual_seed(0)
    inputs = 3 + torch.randn(shape, generator=generator, dtype=torch.float64)
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, 0.5, 2.0, generator=generator)
    state = {name: value.clone() for name, value in layer.state_dict().items()}
    expected = passes(layer, inputs)
    layer.load_state_dict(state)
    with SynchronizedBatchNorm(ALONE):
        found = passes(layer, inputs)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_half_precision_is_accumulated_in_float32() -> None:
    """The output has the dtype of the input, as under autocast."""
    layer = nn.BatchNorm1d(2)
    inputs = 100 + torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    with SynchronizedBatchNorm(ALONE):
        found = layer(inputs.bfloat16())
    expected = nn.BatchNorm1d(2)(inputs.bfloat16().float())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=1e-2, atol=1e-2)


def test_one_example_in_all_parts_is_refused() -> None:
    """With the words of torch, which the trainer explains."""
    layer = nn.BatchNorm1d(2)
    with (
        SynchronizedBatchNorm(ALONE),
        pytest.raises(ValueError, match="Expected more than 1 value per channel"),
    ):
        layer(torch.ones(1, 2))
