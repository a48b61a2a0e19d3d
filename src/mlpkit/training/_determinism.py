"""Deterministic algorithms for the duration of a run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

from mlpkit._checks import error_message

__all__ = ["deterministic_algorithms"]

_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


@contextlib.contextmanager
def deterministic_algorithms(device: torch.device, *, active: bool) -> Iterator[None]:
    """Use torch's deterministic algorithms, and restore its setting on exit.

    Args:
        device: Device of the run.
        active: Whether to do so; False leaves the setting unchanged.

    Raises:
        ValueError: If the environment does not configure cuBLAS for deterministic results.
    """
    if not active:
        yield
        return
    if device.type == "cuda" and os.environ.get(_CUBLAS) not in (":4096:8", ":16:8"):
        rule = "':4096:8' or ':16:8' in the environment for deterministic=True on CUDA"
        cure = "set it before Python starts"
        raise ValueError(error_message(_CUBLAS, rule, os.environ.get(_CUBLAS), cure))
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(mode=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
