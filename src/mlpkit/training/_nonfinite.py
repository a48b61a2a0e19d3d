"""NaN and infinity are met before they reach a parameter."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["BadStep", "FiniteGuard"]


class BadStep(Exception):  # noqa: N818 - becomes a NonFiniteError where epoch and rate are known
    """A step whose loss or gradient is not finite, met before the optimiser used it."""

    def __init__(self, step: int, loss: float, grad_norm: float) -> None:
        self.step = step
        self.loss = loss
        self.grad_norm = grad_norm
        super().__init__(f"step {step}: loss {loss}, gradient norm {grad_norm}")


class _Record(NamedTuple):
    found: Tensor  # 1.0 from the first bad step on, else 0.0; what fused optimisers call found_inf
    first: Tensor  # step, loss and gradient norm of that step, float64


class FiniteGuard:
    """Looks at loss and gradient norm of each step, before the parameters change.

    On the CPU reading a number costs nothing, so a bad step raises at once. Elsewhere reading
    would make the host wait for the device: there the first bad step is noted on the device,
    ``found`` tells the optimiser, on the device too, to leave the parameters alone from then on,
    and the note is read now and then by :meth:`read`. Either way no parameter ever gets a value
    from a bad step, and the step that is named is the first.

    Args:
        device: Where loss and gradients are.
        deferred: Note instead of raise; only for an optimiser that obeys ``found``.
    """

    def __init__(self, device: torch.device, *, deferred: bool) -> None:
        self.deferred = deferred
        self._record = _Record(
            torch.zeros((), device=device),
            torch.zeros(3, device=device, dtype=torch.float64),
        )

    @property
    def found(self) -> Tensor:
        """1.0 once a step was bad, else 0.0, on the device."""
        return self._record.found

    def look(self, step: int | Tensor, loss: Tensor, grad_norm: Tensor) -> None:
        """Note or raise if ``loss`` or ``grad_norm`` is NaN or infinite.

        Args:
            step: Number of the step; a deferred guard takes a tensor too.
            loss: Loss of the step.
            grad_norm: Norm of its gradient.

        Raises:
            BadStep: If one is, and the guard is not deferred.
        """
        if not self.deferred:
            if not (math.isfinite(loss.item()) and math.isfinite(grad_norm.item())):
                raise BadStep(int(step), loss.item(), grad_norm.item())
            return
        found, first = self._record
        bad = ~(torch.isfinite(loss) & torch.isfinite(grad_norm))
        number = step if isinstance(step, Tensor) else torch.full_like(first[0], step)
        this = torch.stack([number.double(), loss.double(), grad_norm.double()])
        torch.where(bad & (found == 0), this, first, out=first)
        torch.maximum(found, bad.to(found.dtype), out=found)

    def read(self) -> None:
        """Raise the first bad step that was noted, if any; waits for the device.

        Raises:
            BadStep: If a step was bad.
        """
        if self.deferred and self._record.found.item():
            step, loss, grad_norm = self._record.first.tolist()
            raise BadStep(int(step), loss, grad_norm)
