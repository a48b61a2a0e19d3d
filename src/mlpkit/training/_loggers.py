"""Callbacks that write the history of a training down while it goes on."""

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
    """Keeps a CSV file of the history, one line for each epoch.

    The file is replaced whole after every epoch and holds the whole history, also that of a
    training that was resumed: no line is lost and none is there twice.

    Args:
        path: The file; its folder must exist.

    Example:
        >>> from mlpkit.training import CSVLogger
        >>> logger = CSVLogger("history.csv")
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def on_fit_start(self, trainer: Trainer) -> None:
        """Write the epochs made before, so that an unwritable path is known at once."""
        trainer.history.to_csv(self.path)

    def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:  # noqa: ARG002
        """Write the history with its new row."""
        trainer.history.to_csv(self.path)


class JSONLinesLogger(Callback):
    """Appends one JSON object for each epoch to a file, for whoever follows it.

    At the start of a training the file is replaced whole by the epochs made before (none, if it
    is not resumed), so that a line cut by a kill, and epochs that will be made again, go.

    Args:
        path: The file; its folder must exist.

    Example:
        >>> from mlpkit.training import JSONLinesLogger
        >>> logger = JSONLinesLogger("history.jsonl")
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def on_fit_start(self, trainer: Trainer) -> None:
        """Write the epochs made before."""
        text = _lines(trainer.history).encode()
        write_atomically(self.path, lambda file: file.write(text))

    def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:  # noqa: ARG002
        """Append the new row."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_lines([row]))


def _lines(rows: Iterable[EpochRow]) -> str:
    return "".join(json.dumps(row.to_dict(), allow_nan=False) + "\n" for row in rows)


class _SummaryWriter(Protocol):
    """The part of torch's SummaryWriter that is used here."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None: ...

    def close(self) -> None: ...


class TensorBoardLogger(Callback):
    """Writes the history as TensorBoard scalars, against the optimizer step.

    A resumed training goes on in the same folder and purges what was written after the step that
    it goes on from.

    Args:
        folder: Where the event files go; it is made where there is none.

    Raises:
        MissingDependencyError: If tensorboard is not installed, when the training starts.

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
        made = trainer.history[-1].step if trainer.history else None
        purge_step = None if made is None else made + 1
        self._writer = tensorboard.SummaryWriter(str(self.folder), purge_step=purge_step)

    def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:  # noqa: ARG002
        """Write one scalar for each figure of the epoch."""
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
