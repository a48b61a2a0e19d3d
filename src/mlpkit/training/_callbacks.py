"""Base class of callbacks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from mlpkit._serialization import JSONValue
from mlpkit.training._fit_result import FitResult
from mlpkit.training._hooks import StepInfo, default_hook
from mlpkit.training._trainer import Trainer
from mlpkit.training.metrics import EpochRow

__all__ = ["Callback"]


class Callback:
    """Base class for hooks called during training; override the ones that you need.

    A hook may read every attribute of the trainer, such as ``trainer.optimizer``, ``trainer.lr``
    and ``trainer.history``, and may call its methods ``stop``, ``save``, ``load_best``,
    ``evaluate`` and ``predict``. Random numbers that a hook draws come from the caller's generator,
    not from the random stream of the run, so drawing them does not change the weights. A hook that
    is not overridden is not called.

    In a run of several processes every process calls its callbacks, which must do the same on each.
    Those whose ``on_every_rank`` is False, such as loggers, are called on the first one alone.

    A callback with state returns it from :meth:`state_dict`. It is saved in every checkpoint and
    restored on resume.

    Example:
        >>> from mlpkit.training import Callback
        >>> class PrintError(Callback):
        ...     def on_epoch_end(self, trainer, row):
        ...         print(f"epoch {row.epoch}: {row.val_error}")
    """

    on_every_rank: ClassVar[bool] = True

    @default_hook
    def on_fit_start(self, trainer: Trainer) -> None:
        """Act before the first step, and after the checkpoint of a resumed run was restored."""

    @default_hook
    def on_step_end(self, trainer: Trainer, step: StepInfo) -> None:
        """Act after an optimizer step."""

    @default_hook
    def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:
        """Act after an epoch and its validation; ``row`` is the newest of ``trainer.history``."""

    @default_hook
    def on_checkpoint(self, trainer: Trainer, path: Path) -> None:
        """Act after a checkpoint was written."""

    @default_hook
    def on_exception(self, trainer: Trainer, error: BaseException) -> None:
        """Act before an exception, or an interrupt, leaves ``fit``."""

    @default_hook
    def on_fit_end(self, trainer: Trainer, result: FitResult) -> None:
        """Act before ``fit`` returns."""

    def state_dict(self) -> dict[str, JSONValue]:
        """Return the state that a resumed run needs, in plain values; empty by default."""
        return {}

    def load_state_dict(self, state: Mapping[str, JSONValue]) -> None:
        """Restore what :meth:`state_dict` returned."""
