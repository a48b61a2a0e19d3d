"""Several processes of one run on this machine, which communicate with gloo."""

from __future__ import annotations

import faulthandler
import importlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import start_processes

T = TypeVar("T")


def run_ranks(function: Callable[..., T], size: int, *arguments: object) -> list[T]:
    """Call a function of a module in several processes of a group, and return all results."""
    with tempfile.TemporaryDirectory() as folder:
        start_processes(  # type: ignore[no-untyped-call]  # torch does not annotate it
            _call, (Path(folder), size, function, arguments), nprocs=size, start_method="spawn"
        )
        files = [Path(folder) / f"{rank}.pt" for rank in range(size)]
        return [cast("T", torch.load(file, weights_only=False)) for file in files]


def _call(
    rank: int, folder: Path, size: int, function: Callable[..., object], arguments: tuple[object]
) -> None:
    faulthandler.enable()
    torch.set_num_threads(1)
    # Before the group, as in join_ranks: functions of this module keep a group that exists.
    importlib.import_module("torch.distributed.nn.functional")
    store = f"file://{folder / 'store'}"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=size)
    try:
        torch.save(function(*arguments), folder / f"{rank}.pt")
    finally:
        dist.destroy_process_group()
