"""How the progress of a run is shown: as a bar, in a notebook, as lines, or not at all."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Literal, Protocol, Self, TextIO

from mlpkit.training._notebook_progress import NotebookProgress, in_notebook
from mlpkit.training._progress_bar import ProgressBar
from mlpkit.training.metrics import EpochRow, History, epoch_line

__all__ = ["EpochLines", "Progress", "mean_row", "show_progress"]


class Progress(Protocol):
    """Shows the steps and the epochs of a run.

    It is closed when its context ends; what it has shown remains. Its methods change nothing of the
    run and draw no random numbers.
    """

    @property
    def is_shown(self) -> bool:
        """Whether anything is shown."""
        ...

    def update(self, step: int) -> None:
        """Set the number of completed steps."""
        ...

    def end_epoch(self, row: EpochRow, text: str) -> None:
        """Show the row of an epoch, or the text where there is place for one line."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


def show_progress(
    total: int,
    *,
    shown: bool | Literal["lines"] | None,
    epochs: int,
    label_smoothing: float,
    initial: int = 0,
    history: History | None = None,
    caption: str = "",
) -> Progress:
    """Return the progress of a run as ``TrainerConfig.progress`` asks for it.

    Args:
        total: Number of steps of the whole run.
        shown: The setting.
        epochs: Number of epochs of the whole run.
        label_smoothing: Label smoothing of the training loss.
        initial: Number of steps made before, for a resumed run.
        history: The epochs before, for a resumed run.
        caption: What the metrics are; empty for those of one model.
    """
    if shown == "lines":
        return EpochLines(epochs, label_smoothing=label_smoothing, caption=caption)
    if shown is not False and in_notebook():
        return NotebookProgress(total, initial=initial, history=history, caption=caption)
    return ProgressBar(total, initial=initial, shown=shown)


class EpochLines:
    """Writes one line per epoch, for a log; after an error in writing it writes nothing more.

    Args:
        epochs: Number of epochs of the whole run.
        label_smoothing: Label smoothing of the training loss.
        caption: What the metrics are; empty for those of one model.
        file: Stream to write to; None means the standard error stream, which may be missing.
    """

    def __init__(
        self,
        epochs: int,
        *,
        label_smoothing: float = 0.0,
        caption: str = "",
        file: TextIO | None = None,
    ) -> None:
        self._epochs = epochs
        self._label_smoothing = label_smoothing
        self._caption = caption
        self._file: TextIO | None = sys.stderr if file is None else file

    @property
    def is_shown(self) -> bool:
        """Whether lines are written."""
        return self._file is not None

    def update(self, step: int) -> None:
        """Do nothing: the lines have no steps."""

    def end_epoch(self, row: EpochRow, text: str) -> None:  # noqa: ARG002 - for the bar
        """Write the line of an epoch."""
        if self._file is None:
            return
        line = epoch_line(
            row, self._epochs, label_smoothing=self._label_smoothing, caption=self._caption
        )
        try:
            self._file.write(f"{line}\n")
            self._file.flush()
        except (OSError, ValueError):  # ValueError: the stream is closed
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        """Do nothing: each line is complete."""


def mean_row(rows: Sequence[EpochRow]) -> EpochRow:
    """Return the mean of the metrics of several networks after the same epoch.

    A column is None where it is None for a network.
    """
    columns = [row.to_dict() for row in rows]
    means: dict[str, float | None] = {}
    for name in columns[0]:
        values = [found for row in columns if (found := row[name]) is not None]
        means[name] = math.fsum(values) / len(rows) if len(values) == len(rows) else None
    return EpochRow.from_dict({**means, "epoch": rows[0].epoch, "step": rows[0].step})
