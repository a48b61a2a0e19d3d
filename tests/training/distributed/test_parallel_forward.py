"""The outputs of all processes together are those of one."""

from __future__ import annotations

import pytest
import torch
from tests.training.distributed.processes import run_ranks
from torch import Tensor

from mlpkit import MLP
from mlpkit.training._ranks import join_ranks
from mlpkit.training.distributed import ParallelForward

pytestmark = pytest.mark.distributed

COUNTS = (1, 2, 3, 4, 5, 64)


def network() -> MLP:
    return MLP(3, (8,), 4, generator=torch.Generator().manual_seed(0)).eval()


def inputs(count: int) -> Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(count))


def outputs() -> list[Tensor]:
    forward = ParallelForward(network(), join_ranks())
    with torch.inference_mode():
        return [forward(inputs(count)) for count in COUNTS]


def test_outputs_are_those_of_one_process() -> None:
    """For batches that cannot be divided evenly, and smaller than the number of processes."""
    for found in run_ranks(outputs, 3):
        for count, output in zip(COUNTS, found, strict=True):
            torch.testing.assert_close(output, network()(inputs(count)).detach())
