"""A check that all processes read the same batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor

from mlpkit._checks import Unquoted, error_message
from mlpkit.training._ranks import Ranks

__all__ = ["check_same_tensors"]

_ROWS = 256  # of each tensor that are compared


def check_same_tensors(what: str, tensors: Iterable[Tensor], ranks: Ranks) -> None:
    """Raise if a process has other tensors than the first one.

    Args:
        what: Description of the tensors, for the error message.
        tensors: The tensors, of which the first rows are compared.
        ranks: The processes.

    Raises:
        ValueError: If the tensors differ.
    """
    first, *others = ranks.gather([_digest(tensor) for tensor in tensors])
    differing = [str(rank) for rank, other in enumerate(others, 1) if other != first]
    if differing:
        cure = (
            "the trainer divides each batch among the processes itself: give every process "
            "the same data in the same order, without a DistributedSampler"
        )
        got = Unquoted(f"others in process {', '.join(differing)}")
        raise ValueError(error_message(what, "the same in every process", got, cure))


def _digest(tensor: Tensor) -> str:
    rows = tensor[:_ROWS].detach().cpu().contiguous().flatten()
    content = rows.view(torch.uint8).numpy().tobytes()
    return f"{tuple(tensor.shape)} {tensor.dtype} {hashlib.blake2b(content).hexdigest()}"
