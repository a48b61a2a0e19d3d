"""Callbacks that write the history of a run to files while it is running."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Protocol

from mlpkit._files import write_atomically
from mlpkit.errors import MissingDependencyError
from mlpkit.training._callbacks import Callback
from mlpkit.training._fit_result import FitResult
from mlpkit.training._trainer import Trainer
from mlpkit.training.metrics import EpochRow

__all__ = ["CSVLogger", "JSONLinesLogger", "TensorBoardLogger"]


class CSVLogger(Callback):
    """Writes the history to a CSV file, one line per epoch.

    After every epoch the file is replaced atomically by the complete history. The file of a resumed
    run therefore has exactly one line for each epoch.

    Args:
        path: Path of the file; its folder must exist.

    Example:
        >>> from mlpkit.training import CSVLogger
        >>> logger = CSVLogger("history.csv")
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def on_fit_start(self, trainer: Trainer) -> None:
        """Write the epochs completed so far; an unwritable path raises before the first step."""
        trainer.history.to_csv(self.path)

    def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:  # noqa: ARG002
        """Write the complete history."""
        trainer.history.to_csv(self.path)


class JSONLinesLogger(Callback):
    """Appends one JSON object per epoch to a file, so that other programs can follow the run.

    At the start of a run the file is replaced by the epochs completed so far (none for a new run).
    This removes a line that was truncated when the process was killed, and epochs that the resumed
    run will repeat.

    Args:
        path: Path of the file; its folder must exist.

    Example:
        >>> from mlpkit.training import JSONLinesLogger
        >>> logger = JSONLinesLogger("history.jsonl")
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def on_fit_start(self, trainer: Trainer) -> None:
        """Write the epochs completed so far."""
        text = _lines(trainer.history).encode()
        write_atomically(self.path, lambda file: file.write(text))

    def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:  # noqa: ARG002
        """Append the new row."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_lines([row]))


def _lines(rows: Iterable[EpochRow]) -> str:
    return "".join(json.dumps(row.to_dict(), allow_nan=False) + "\n" for row in rows)


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
