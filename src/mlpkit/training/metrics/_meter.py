"""The running figures of one epoch: mean loss and mean gradient norm."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["EpochMeter"]

_FLUSH = 256  # tensors kept before they are summed: bounds memory, and syncs nothing


class EpochMeter:
    """Sums of loss and gradient norm over the steps of an epoch, in float64.

    On the CPU the numbers are read at once. Elsewhere the tensors are kept, and summed on the
    device a few hundred at a time, so that adding a step neither computes nor waits.

    Args:
        device: Where the losses are.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._reads_at_once = device.type == "cpu"
        self.reset()

    def reset(self) -> None:
        """Forget the epoch."""
        self._sums = [0.0, 0.0, 0.0, 0.0]  # weight * loss, weight, norm, number of norms
        self._kept: list[tuple[Tensor, float | Tensor, Tensor]] = []
        self._on_device = torch.zeros(4, dtype=torch.float64, device=self._device)

    def add(self, loss: Tensor, weight: float | Tensor, grad_norm: Tensor) -> None:
        """Add one step with its mean loss, its total weight and its gradient norm."""
        if self._reads_at_once:
            heavy = float(weight)
            norm = grad_norm.item()
            self._sums[0] += heavy * loss.item()
            self._sums[1] += heavy
            if math.isfinite(norm):  # fp16 skips a step whose scaled gradients overflow
                self._sums[2] += norm
                self._sums[3] += 1.0
            return
        self._kept.append((loss, weight, grad_norm))
        if len(self._kept) == _FLUSH:
            self._flush()

    def _flush(self) -> None:
        if not self._kept:
            return
        losses, weights, norms = zip(*self._kept, strict=True)
        self._kept = []
        heavy = (
            torch.stack([torch.as_tensor(weight, device=self._device) for weight in weights])
            if any(isinstance(weight, Tensor) for weight in weights)
            else torch.tensor(weights, device=self._device)
        ).double()
        norm = torch.stack(norms).double()
        finite = torch.isfinite(norm)
        self._on_device += torch.stack(
            [
                (heavy * torch.stack(losses).double()).sum(),
                heavy.sum(),
                torch.where(finite, norm, 0.0).sum(),
                finite.double().sum(),
            ]
        )

    def state_dict(self) -> list[float]:
        """Return the sums; waits for the device."""
        self._flush()
        if not self._reads_at_once:
            self._sums = self._on_device.tolist()
        return list(self._sums)

    def load_state_dict(self, sums: list[float]) -> None:
        """Go on from the sums of :meth:`state_dict`."""
        self.reset()
        self._sums = list(sums)
        self._on_device.copy_(torch.tensor(sums, dtype=torch.float64))

    def means(self) -> tuple[float, float | None]:
        """Return the mean loss and the mean gradient norm, None without any; waits."""
        loss, weight, norm, steps = self.state_dict()
        return loss / weight, norm / steps if steps else None
