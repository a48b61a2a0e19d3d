"""Detection of NaN and infinity before they reach a parameter."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from mlpkit.errors import NonFiniteError
from mlpkit.training.optim import Rates

__all__ = ["FiniteGuard", "NonFiniteStep", "nonfinite_error"]

_LINE_SEARCH_CURE = "check the inputs, or standardize them"
_MAX_RECORDED = 1000  # each recorded step occupies two blocks of device memory


class NonFiniteStep(Exception):  # noqa: N818 - converted to a NonFiniteError where epoch and rate are known
    """A step whose loss or gradient is not finite, detected before the parameters changed."""

    def __init__(self, step: int, loss: float, grad_norm: float) -> None:
        self.step = step
        self.loss = loss
        self.grad_norm = grad_norm
        super().__init__(step, loss, grad_norm)  # the arguments, so that it can be pickled

    def __str__(self) -> str:
        return f"step {self.step}: loss {self.loss}, gradient norm {self.grad_norm}"


def nonfinite_error(
    found: NonFiniteStep,
    rates: Rates,
    *,
    epoch: int,
    checkpoint: Path | None,
    network: int | None = None,
    has_line_search: bool = False,
) -> NonFiniteError:
    """Return the error that users see for a non-finite step, with its notes.

    Args:
        found: The step.
        rates: Learning rates of the run.
        epoch: Number of its epoch.
        checkpoint: The newest checkpoint; None if there is none.
        network: Number of the network, if several are trained together; else None.
        has_line_search: Whether the optimizer searches for the size of its steps itself, so that a
            lower learning rate does not help.
    """
    options = {"cure": _LINE_SEARCH_CURE} if has_line_search else {}
    error = NonFiniteError(
        step=found.step,
        epoch=epoch,
        loss=found.loss,
        lr=rates.lr(found.step),
        grad_norm=found.grad_norm,
        checkpoint=checkpoint,
        network=network,
        **options,
    )
    for note in getattr(found, "__notes__", ()):
        error.add_note(note)
    return error


class FiniteGuard:
    """Checks the loss and the gradient norm of each step before the parameters change.

    On the CPU a non-finite step raises immediately, since reading a number there costs nothing. On
    an accelerator reading would synchronize with the device, so the check is deferred: ``found``
    tells the optimizer, on the device, to skip all updates from the first non-finite step on, and
    :meth:`sync` finds that step among the recorded ones. In both cases no parameter is updated from
    a non-finite step, and the error names the first one.

    Args:
        device: Device of the loss and the gradients.
        deferred: Set ``found`` instead of raising; requires an optimizer that reads ``found``.

    Attributes:
        deferred: Whether the check is deferred.
        found: 1.0 after a non-finite step, else 0.0, on the device; fused optimizers read it as
            ``found_inf``.
    """

    def __init__(self, device: torch.device, *, deferred: bool) -> None:
        self.deferred = deferred
        self.found = torch.zeros((), device=device)
        self._recorded: list[tuple[int, Tensor, Tensor]] = []
        self._first: tuple[int, float, float] | None = None

    def check(self, step: int, loss: Tensor | float, grad_norm: Tensor | float) -> None:
        """Raise, or set ``found`` if deferred, if ``loss`` or ``grad_norm`` is not finite.

        Args:
            step: Number of the step.
            loss: Loss of the step.
            grad_norm: Norm of its gradient.

        Raises:
            NonFiniteStep: If one of them is NaN or infinite and the guard is not deferred.
        """
        if not self.deferred:
            if not (math.isfinite(loss) and math.isfinite(grad_norm)):
                raise NonFiniteStep(step, float(loss), float(grad_norm))
            return
        assert isinstance(loss, Tensor), "the optimizer reads the flag on the device"
        # x - x is 0 for a finite x, else NaN, which is unequal to everything. This takes four
        # kernels; two calls of isfinite take twelve.
        bad = (loss - loss) != (grad_norm - grad_norm)
        torch.maximum(self.found, bad, out=self.found)

    def record(self, step: int, loss: Tensor, grad_norm: Tensor) -> None:
        """Keep the loss and the gradient norm of a step until the next :meth:`sync`.

        Args:
            step: Number of the step.
            loss: Loss of the step, in memory that no later step overwrites.
            grad_norm: Norm of its gradient, likewise.

        Raises:
            NonFiniteStep: If the limit of recorded steps is reached and one of them is not finite.
        """
        if not self.deferred:
            return
        self._recorded.append((step, loss, grad_norm))
        if len(self._recorded) == _MAX_RECORDED:
            self.sync()

    def sync(self) -> None:
        """Raise the first non-finite step, if there was one; synchronizes with the device.

        Raises:
            NonFiniteStep: If a step was not finite; raised again by every later call.
        """
        if not self.deferred:
            return
        recorded, self._recorded = self._recorded, []
        if self._first is None and self.found.item() != 0.0:
            values = [(step, loss.item(), norm.item()) for step, loss, norm in recorded]
            nonfinite = [value for value in values if not all(map(math.isfinite, value[1:]))]
            # If all recorded steps are finite, an exception prevented recording the one after them.
            following = values[-1][0] + 1 if values else 0
            self._first = nonfinite[0] if nonfinite else (following, math.nan, math.nan)
        if self._first is not None:
            raise NonFiniteStep(*self._first)
