"""Work beside the main line of a CUDA graph: done at once elsewhere, joined within."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import Tensor

from mlpkit._devices import SideStream

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_cuda)])
def test_outside_a_record_it_is_done_at_once(device: str) -> None:
    done: list[int] = []
    beside = SideStream(torch.device(device))
    beside.do(lambda: done.append(1))
    assert done == [1]
    beside.join()


@needs_cuda
def test_within_a_record_what_comes_after_the_join_has_the_result() -> None:
    """Also where memory of the inputs is free for others in the meantime."""
    device = torch.device("cuda")
    beside = SideStream(device)
    values = torch.arange(1 << 20, device=device, dtype=torch.float32)
    total = torch.zeros((), device=device)
    graph = torch.cuda.CUDAGraph()

    def add(scaled: Tensor) -> None:
        total.add_(scaled.double().sum())

    with torch.cuda.graph(graph):
        for factor in range(1, 9):
            scaled = values * factor
            beside.do(functools.partial(add, scaled), scaled)
            del scaled
            torch.full_like(values, -1.0).mul_(2.0)  # would take the memory, were it free
        beside.join()
        result = total * 2
    for _ in range(2):
        total.zero_()
        graph.replay()
        expected = 2 * 36 * float(values.double().sum())
        assert float(result) == pytest.approx(expected, rel=1e-6)
