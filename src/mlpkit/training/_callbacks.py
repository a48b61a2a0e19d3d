"""Hooks into a training, for what the configuration has no word for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from mlpkit._serialization import JSONValue

if TYPE_CHECKING:
    from mlpkit.training._trainer import FitResult, Trainer
    from mlpkit.training.metrics import EpochRow

__all__ = ["Callback", "StepInfo", "hooks"]


@dataclass(frozen=True, slots=True)
class StepInfo:
    """One optimizer step that has just been made.

    Attributes:
        epoch: Number of the epoch, from 0.
        step: Number of the step in the whole training, from 0.
        loss: Mean loss of the step, in the objective's unit; a tensor of one element on the
            model's device, so that whoever does not read it does not wait for the device.
        lr: The learning rate of the step.
    """

    epoch: int
    step: int
    loss: Tensor
    lr: float


class Callback:
    """A few moments of a training to act in; override what you need, the rest costs nothing.

    A hook may read anything of the trainer and may call its ``stop``, ``save``, ``evaluate`` and
    ``predict``. Random numbers that it draws come from the caller's generator, not from the
    training's: with or without callbacks the weights are the same, bit for bit.

    A callback with a state of its own gives it out in :meth:`state_dict`, so that it is in every
    checkpoint and comes back on resume.

    Example:
        >>> from mlpkit.training import Callback
        >>> class PrintError(Callback):
        ...     def on_epoch_end(self, trainer, row):
        ...         print(f"epoch {row.epoch}: {row.val_error}")
    """

    def on_fit_start(self, trainer: Trainer) -> None:
        """Act before the first step, and after the checkpoint of a resumed run was read."""

    def on_step_end(self, trainer: Trainer, step: StepInfo) -> None:
        """Act after an optimizer step."""

    def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:
        """Act after an epoch and its validation; ``row`` is the newest of ``trainer.history``."""

    def on_checkpoint(self, trainer: Trainer, path: Path) -> None:
        """Act after a checkpoint was written."""

    def on_exception(self, trainer: Trainer, error: BaseException) -> None:
        """Act when an exception, an interruption too, is about to leave ``fit``."""

    def on_fit_end(self, trainer: Trainer, result: FitResult) -> None:
        """Act when ``fit`` is about to return."""

    def state_dict(self) -> dict[str, JSONValue]:
        """Return what a resumed run needs, in plain values; nothing by default."""
        return {}

    def load_state_dict(self, state: Mapping[str, JSONValue]) -> None:
        """Take back what :meth:`state_dict` gave."""


def hooks(callbacks: Sequence[Callback], name: str) -> list[Callable[..., None]]:
    """Return the bound methods of those callbacks that override the hook of this name."""
    return [
        getattr(callback, name)
        for callback in callbacks
        if getattr(type(callback), name) is not getattr(Callback, name) or name in vars(callback)
    ]
