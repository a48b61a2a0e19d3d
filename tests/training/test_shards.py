"""Tensors of which each process has a part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from mlpkit.training._shards import is_sharded, local, part_like, whole, whole_state


@pytest.fixture
def shard(tmp_path: Path) -> Iterator[Tensor]:
    """A tensor of a group of this process alone."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    store = f"file://{tmp_path / 'store'}"
    dist.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        yield distribute_tensor(torch.arange(6.0).view(3, 2), mesh, [Shard(0)])
    finally:
        dist.destroy_process_group()


def test_a_tensor_without_shards_is_returned_itself() -> None:
    tensor, other = torch.ones(2), torch.zeros(2)
    assert not is_sharded(tensor)
    assert local(tensor) is whole(tensor) is part_like(tensor, other) is tensor
    state = {"a": [tensor, (1, "b")], "c": None}
    assert whole_state(state, keep=False) == state


@pytest.mark.distributed
def test_a_whole_tensor_is_divided_and_put_together(shard: Tensor) -> None:
    """A state has whole tensors afterwards, on the process that keeps them."""
    expected = torch.arange(6.0).view(3, 2)
    assert is_sharded(shard)
    local(shard)[0, 0] = 7.0  # the same memory
    expected[0, 0] = 7.0
    assert torch.equal(whole(shard), expected)
    part = part_like(expected + 1, shard)
    assert is_sharded(part)
    assert part_like(part, shard) is part
    assert torch.equal(whole(part), expected + 1)
    state = {"weights": [shard], "step": 3}
    kept = whole_state(state, keep=True)
    assert isinstance(kept, dict)
    assert torch.equal(kept["weights"][0], expected)
    assert kept["step"] == 3
    dropped = whole_state(state, keep=False)
    assert isinstance(dropped, dict)
    assert dropped["weights"][0].numel() == 0
