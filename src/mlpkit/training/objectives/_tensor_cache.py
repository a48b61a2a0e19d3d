"""Tuples of numbers as tensors, created once for each device and dtype."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["TensorCache"]


class TensorCache:
    """Base class of objectives that multiply by a tuple of numbers.

    A CUDA graph cannot capture the copy of numbers from the host, and reads the memory of the
    tensor at each replay. So the tensor is created in a step before the capture, and the objective
    keeps it. The cache is not a field of the dataclass: it is not compared, shown, or copied.
    """

    __slots__ = ("_tensors",)

    _tensors: dict[tuple[torch.device, torch.dtype], Tensor]

    def _tensor(self, numbers: tuple[float, ...], like: Tensor) -> Tensor:
        """Return ``numbers`` as a tensor, ``(D,)``, with the device and dtype of ``like``."""
        try:
            tensors = self._tensors
        except AttributeError:
            tensors = {}
            object.__setattr__(self, "_tensors", tensors)
        key = (like.device, like.dtype)
        found = tensors.get(key)
        if found is None:
            with torch.inference_mode(mode=False):  # autograd cannot save an inference tensor
                found = torch.tensor(numbers, dtype=like.dtype, device=like.device)
            # A tensor created within a transform of torch.func is invalid after it.
            if not torch._C._functorch.is_functorch_wrapped_tensor(found):
                tensors[key] = found
        return found
