"""Protocol of callbacks, and the hooks that a callback implements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Never, Protocol, TypeVar, runtime_checkable

from torch import Tensor

from mlpkit._serialization import JSONValue
from mlpkit.training._fit_result import FitResult
from mlpkit.training.metrics import EpochRow

__all__ = ["CallbackLike", "StepInfo", "default_hook", "hooks"]

_Hook = TypeVar("_Hook", bound=Callable[..., None])


@dataclass(frozen=True, slots=True)
class StepInfo:
    """A completed optimizer step.

    Attributes:
        epoch: Number of the epoch, from 0.
        step: Number of the step in the whole run, from 0.
        loss: Mean loss of the step, in the unit of the objective: a scalar tensor on the device of
            the model. Reading it synchronizes with the device.
        lr: Learning rate of the step.
    """

    epoch: int
    step: int
    loss: Tensor
    lr: float


@runtime_checkable
class CallbackLike(Protocol):
    """Protocol of the callbacks of :class:`Trainer`; :class:`Callback` implements it.

    The first argument of a hook is the trainer that calls it. Its type is ``Never``, so a hook may
    annotate it with the class of trainer that it expects.
    """

    def on_fit_start(self, trainer: Never) -> None:
        """Act before the first step."""
        ...

    def on_step_end(self, trainer: Never, step: StepInfo) -> None:
        """Act after an optimizer step."""
        ...

    def on_epoch_end(self, trainer: Never, row: EpochRow) -> None:
        """Act after an epoch and its validation."""
        ...

    def on_checkpoint(self, trainer: Never, path: Path) -> None:
        """Act after a checkpoint was written."""
        ...

    def on_exception(self, trainer: Never, error: BaseException) -> None:
        """Act before an exception leaves ``fit``."""
        ...

    def on_fit_end(self, trainer: Never, result: FitResult) -> None:
        """Act before ``fit`` returns."""
        ...

    def state_dict(self) -> dict[str, JSONValue]:
        """Return the state that a resumed run needs."""
        ...

    def load_state_dict(self, state: Mapping[str, JSONValue]) -> None:
        """Restore what :meth:`state_dict` returned."""
        ...


def default_hook(method: _Hook) -> _Hook:
    """Mark a hook as the default, which does nothing and is not called."""
    method.__dict__["is_default"] = True
    return method


def hooks(callbacks: Sequence[CallbackLike], name: str) -> list[Callable[..., None]]:
    """Return the bound hooks with this name of all callbacks that override it."""
    bound = [getattr(callback, name) for callback in callbacks]
    return [method for method in bound if not getattr(method, "is_default", False)]
