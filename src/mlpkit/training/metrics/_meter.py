"""Running means of the loss and the gradient norm over one epoch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["EpochMeter"]

_MAX_PENDING = 256  # steps kept before they are summed on the device; bounds the memory


class EpochMeter:
    """Sums of loss and gradient norm over the steps of an epoch, in float64.

    On the CPU the numbers are read immediately. On an accelerator the tensors are kept, and summed
    on the device 256 steps at a time, so that adding a step does not synchronize.

    Args:
        device: Device of the losses.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._reads_immediately = device.type == "cpu"
        self.reset()

    def reset(self) -> None:
        """Start a new epoch."""
        self._sums = [0.0, 0.0, 0.0, 0.0]  # weight * loss, weight, norm, number of norms
        self._pending: list[tuple[Tensor, float | Tensor, Tensor]] = []
        self._device_sums = torch.zeros(4, dtype=torch.float64, device=self._device)

    def add(self, loss: Tensor, weight: float | Tensor, grad_norm: Tensor) -> None:
        """Add one step: its mean loss, its total weight and its gradient norm."""
        if self._reads_immediately:
            total = float(weight)
            norm = grad_norm.item()
            self._sums[0] += total * loss.item()
            self._sums[1] += total
            if math.isfinite(norm):  # fp16 skips a step whose scaled gradients overflow
                self._sums[2] += norm
                self._sums[3] += 1.0
            return
        self._pending.append((loss, weight, grad_norm))
        if len(self._pending) == _MAX_PENDING:
            self._flush()

    def _flush(self) -> None:
        if not self._pending:
            return
        losses, weights, norms = zip(*self._pending, strict=True)
        self._pending = []
        totals = (
            torch.stack([torch.as_tensor(weight, device=self._device) for weight in weights])
            if any(isinstance(weight, Tensor) for weight in weights)
            else torch.tensor(weights, device=self._device)
        ).double()
        norm = torch.stack(norms).double()
        finite = torch.isfinite(norm)
        self._device_sums += torch.stack(
            [
                (totals * torch.stack(losses).double()).sum(),
                totals.sum(),
                torch.where(finite, norm, 0.0).sum(),
                finite.double().sum(),
            ]
        )

    def state_dict(self) -> list[float]:
        """Return the sums; synchronizes with the device."""
        self._flush()
        if not self._reads_immediately:
            self._sums = self._device_sums.tolist()
        return list(self._sums)

    def load_state_dict(self, sums: list[float]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.reset()
        self._sums = list(sums)
        self._device_sums.copy_(torch.tensor(sums, dtype=torch.float64))

    def means(self) -> tuple[float, float | None]:
        """Return the means of loss and finite gradient norms (None without one); synchronizes."""
        loss, weight, norm, steps = self.state_dict()
        return loss / weight if weight else 0.0, norm / steps if steps else None
