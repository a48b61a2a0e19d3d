"""Callbacks that write the history of a run to files while it is running."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from mlpkit._files import write_atomically
from mlpkit.training._callbacks import Callback
from mlpkit.training._trainer import Trainer
from mlpkit.training.metrics import EpochRow

__all__ = ["CSVLogger", "JSONLinesLogger"]


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

    on_every_rank = False

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

    on_every_rank = False

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
