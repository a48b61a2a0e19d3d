"""The outputs of all processes together are those of one."""

from __future__ import annotations

import pytest
import torch
from tests.training.distributed.processes import run_ranks
from torch import Tensor, nn

from mlpkit import MLP
from mlpkit.training._ranks import join_ranks
from mlpkit.training.distributed import ParallelForward

pytestmark = pytest.mark.distributed

COUNTS = (2, 3, 4, 5, 64)  # one example has no statistics


def network() -> MLP:
    return MLP(3, (8,), 4, generator=torch.Generator().manual_seed(0)).eval()


def inputs(count: int) -> Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(count))


def networks() -> tuple[nn.Module, nn.Module]:
    return network(), nn.Sequential(nn.BatchNorm1d(3, track_running_stats=False), network()).eval()


def outputs() -> list[Tensor]:
    forwards = [ParallelForward(each, join_ranks()) for each in networks()]
    with torch.inference_mode():
        return [forward(inputs(count)) for forward in forwards for count in COUNTS]


def test_outputs_are_those_of_one_process() -> None:
    """Also for batches that cannot be divided evenly, and with statistics of the whole batch."""
    expected = [one(inputs(count)).detach() for one in networks() for count in COUNTS]
    for found in run_ranks(outputs, 3):
        for output, wanted in zip(found, expected, strict=True):
            torch.testing.assert_close(output, wanted)
