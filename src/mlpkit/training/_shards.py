"""Tensors of which each process has a part, as ``fully_shard`` makes them.

They are known by their attributes: an import of ``torch.distributed.tensor`` takes half as long as
that of torch, and a run without shards does not need it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["is_sharded", "local", "part_like", "whole", "whole_state"]


def is_sharded(tensor: Tensor) -> bool:
    """Return whether a process has only a part of the tensor."""
    return hasattr(tensor, "placements")


def local(tensor: Tensor) -> Tensor:
    """Return the part of this process, which shares memory with the tensor."""
    return tensor.to_local() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]  # of a DTensor


def whole(tensor: Tensor) -> Tensor:
    """Return the whole tensor; all processes of a sharded one call this together."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]  # of a DTensor


def part_like(value: Tensor, like: Tensor) -> Tensor:
    """Return a whole tensor divided as another one is; itself if that one is not divided."""
    if not is_sharded(like) or is_sharded(value):
        return value
    from torch.distributed.tensor import distribute_tensor

    mesh, placements = like.device_mesh, like.placements  # type: ignore[attr-defined]  # of a DTensor
    with torch.no_grad():
        # Every process has the whole tensor, so none is sent.
        return distribute_tensor(value.to(like.device), mesh, placements, src_data_rank=None)


def whole_state(state: object, *, keep: bool) -> object:
    """Return nested dictionaries and sequences with whole tensors on the CPU in place of shards.

    All processes call this together.

    Args:
        state: What a checkpoint holds.
        keep: Whether this process keeps the whole tensors. Others need no memory for them.
    """
    if isinstance(state, Tensor):
        if not is_sharded(state):
            return state
        found = whole(state.detach())
        return found.cpu() if keep else torch.empty(0)
    if isinstance(state, Mapping):
        return {key: whole_state(value, keep=keep) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(whole_state(value, keep=keep) for value in state)
    return state
