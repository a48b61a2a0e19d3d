"""Shapes of targets and of the outputs that predict them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mlpkit._checks import check_int, error_message

__all__ = ["check_target_shape", "shaped"]


def check_target_shape(
    shape: Sequence[int], network_outputs: int | None, outputs_per_target: int = 1
) -> tuple[int, ...]:
    """Return the shape of the targets of one example, for which a network has its outputs.

    Args:
        shape: The shape; ``()`` for one number.
        network_outputs: Number of outputs of the network.
        outputs_per_target: How many of them each number needs.

    Raises:
        TypeError: If a size is not an integer.
        ValueError: If a size is below 1, or the network has another number of outputs.
    """
    sizes = tuple(
        check_int(f"target_shape[{axis}]", size, minimum=1) for axis, size in enumerate(shape)
    )
    if outputs_per_target * math.prod(sizes) != network_outputs:
        each = "" if outputs_per_target == 1 else f"{outputs_per_target} for each of "
        rule = f"a shape for which the network has its {network_outputs} outputs"
        cure = f"give the network {each}{math.prod(sizes)} outputs"
        raise ValueError(error_message("target_shape", rule, sizes, cure))
    return sizes


def shaped(outputs: Tensor, target_shape: tuple[int, ...]) -> Tensor:
    """Return outputs, ``(..., D)``, in the shape of targets, ``(..., *target_shape)``."""
    if len(target_shape) == 1:
        return outputs
    if not target_shape:
        return outputs.squeeze(-1)
    return torch.unflatten(outputs, -1, target_shape)
