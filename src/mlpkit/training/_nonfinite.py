"""NaN and infinity are met before they reach a parameter."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from mlpkit.errors import NonFiniteError

__all__ = ["FiniteGuard", "NonFiniteStep", "nonfinite_error"]

_MOST_NOTED = 1000  # two numbers of a step take a block of device memory each


class NonFiniteStep(Exception):  # noqa: N818 - becomes a NonFiniteError where epoch and rate are known
    """A step whose loss or gradient is not finite, met before the optimizer used it."""

    def __init__(self, step: int, loss: float, grad_norm: float) -> None:
        self.step = step
        self.loss = loss
        self.grad_norm = grad_norm
        super().__init__(f"step {step}: loss {loss}, gradient norm {grad_norm}")


def nonfinite_error(
    found: NonFiniteStep,
    *,
    epoch: int,
    lr: float,
    checkpoint: Path | None,
    network: int | None = None,
) -> NonFiniteError:
    """Return the error that users see for a step that is not finite, with its notes.

    Args:
        found: The step.
        epoch: Number of its epoch.
        lr: Its learning rate.
        checkpoint: The newest checkpoint, if there is one.
        network: Number of the network among those that are trained together, if there are several.
    """
    error = NonFiniteError(
        step=found.step,
        epoch=epoch,
        loss=found.loss,
        lr=lr,
        grad_norm=found.grad_norm,
        checkpoint=checkpoint,
        network=network,
    )
    for note in getattr(found, "__notes__", ()):
        error.add_note(note)
    return error


class FiniteGuard:
    """Looks at loss and gradient norm of each step, before the parameters change.

    On the CPU reading a number costs nothing, so a bad step raises at once. Elsewhere reading
    would make the host wait for the device: there ``found`` tells the optimizer, on the device, to
    leave the parameters alone from the first bad step on, and :meth:`read`, now and then, looks
    for that step among all that were noted. Either way no parameter ever gets a value from a bad
    step, and the step that is named is the first.

    Args:
        device: Where loss and gradients are.
        deferred: Tell the optimizer instead of raising; only for one that obeys ``found``.

    Attributes:
        deferred: As given.
        found: 1.0 once a step was bad, else 0.0, on the device; fused optimizers call it found_inf.
    """

    def __init__(self, device: torch.device, *, deferred: bool) -> None:
        self.deferred = deferred
        self.found = torch.zeros((), device=device)
        self._noted: list[tuple[int, Tensor, Tensor]] = []
        self._first: tuple[int, float, float] | None = None

    def check(self, step: int, loss: Tensor | float, grad_norm: Tensor | float) -> None:
        """Raise, or tell the optimizer, if ``loss`` or ``grad_norm`` is NaN or infinite.

        Args:
            step: Number of the step.
            loss: Loss of the step.
            grad_norm: Norm of its gradient.

        Raises:
            NonFiniteStep: If one is, and the guard is not deferred.
        """
        if not self.deferred:
            if not (math.isfinite(loss) and math.isfinite(grad_norm)):
                raise NonFiniteStep(step, float(loss), float(grad_norm))
            return
        assert isinstance(loss, Tensor), "the optimizer reads the flag on the device"
        # A finite number less itself is 0; NaN and infinity less themselves are NaN, which is
        # unequal to everything. Four kernels: asking isfinite of both takes a dozen.
        bad = (loss - loss) != (grad_norm - grad_norm)
        torch.maximum(self.found, bad, out=self.found)

    def record(self, step: int, loss: Tensor, grad_norm: Tensor) -> None:
        """Keep the figures of a step until the next :meth:`read`, which looks for a bad one there.

        Args:
            step: Number of the step.
            loss: Its loss, in memory that no later step writes.
            grad_norm: Norm of its gradient, likewise.

        Raises:
            NonFiniteStep: If so many are kept that it is time to read them, and one was bad.
        """
        if not self.deferred:
            return
        self._noted.append((step, loss, grad_norm))
        if len(self._noted) == _MOST_NOTED:
            self.sync()

    def sync(self) -> None:
        """Raise the first bad step, if there was one, however often it is called; waits.

        Raises:
            NonFiniteStep: If a step was bad.
        """
        if not self.deferred:
            return
        noted, self._noted = self._noted, []
        if self._first is None and self.found.item() != 0.0:
            figures = [(step, loss.item(), norm.item()) for step, loss, norm in noted]
            bad = [each for each in figures if not all(map(math.isfinite, each[1:]))]
            # A step whose note never came, since something else went wrong first, is the next one.
            after = figures[-1][0] + 1 if figures else 0
            self._first = bad[0] if bad else (after, math.nan, math.nan)
        if self._first is not None:
            raise NonFiniteStep(*self._first)
