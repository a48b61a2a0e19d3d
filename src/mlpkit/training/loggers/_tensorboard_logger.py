"""Callback that writes the history of a run as TensorBoard scalars."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Protocol

from mlpkit.errors import MissingDependencyError
from mlpkit.training._callbacks import Callback
from mlpkit.training._fit_result import FitResult
from mlpkit.training._trainer import Trainer
from mlpkit.training.metrics import EpochRow

__all__ = ["TensorBoardLogger"]


class _SummaryWriter(Protocol):
    """The methods of torch's SummaryWriter that the logger uses."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None: ...

    def close(self) -> None: ...


class TensorBoardLogger(Callback):
    """Writes the history as TensorBoard scalars over the optimizer steps.

    A resumed run continues in the same folder, and purges the scalars of steps after the
    checkpoint.

    Args:
        folder: Folder of the event files; it is created if it does not exist.

    Raises:
        MissingDependencyError: If tensorboard is not installed; raised when the run starts.

    Example:
        >>> from mlpkit.training import TensorBoardLogger
        >>> logger = TensorBoardLogger("runs/first")
    """

    on_every_rank = False

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._writer: _SummaryWriter | None = None

    def on_fit_start(self, trainer: Trainer) -> None:
        """Open the event file."""
        try:
            tensorboard = import_module("torch.utils.tensorboard")
        except ImportError as error:
            raise MissingDependencyError(
                "TensorBoardLogger needs tensorboard, which cannot be imported; "
                "pip install 'mlpkit[tensorboard]'"
            ) from error
        last_step = trainer.history[-1].step if trainer.history else None
        purge_step = None if last_step is None else last_step + 1
        self._writer = tensorboard.SummaryWriter(str(self.folder), purge_step=purge_step)

    def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:  # noqa: ARG002
        """Write one scalar for each metric of the epoch."""
        if self._writer is not None:
            for column, value in row.to_dict().items():
                if value is not None and column not in ("epoch", "step"):
                    self._writer.add_scalar(column, value, row.step)

    def on_exception(self, trainer: Trainer, error: BaseException) -> None:  # noqa: ARG002
        """Close the event file."""
        self._close()

    def on_fit_end(self, trainer: Trainer, result: FitResult) -> None:  # noqa: ARG002
        """Close the event file."""
        self._close()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
