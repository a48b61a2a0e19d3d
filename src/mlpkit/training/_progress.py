"""How the progress of a run is shown: as a bar, in a notebook, as lines, or not at all."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Literal, Protocol, Self, TextIO

from mlpkit.training._notebook_progress import NotebookProgress, in_notebook
from mlpkit.training._progress_bar import ProgressBar
from mlpkit.training.metrics import EpochRow, History

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
    initial: int = 0,
    history: History | None = None,
    caption: str = "",
) -> Progress:
    """Return the progress of a run as ``TrainerConfig.progress`` asks for it.

    Args:
        total: Number of steps of the whole run.
        shown: The setting.
        epochs: Number of epochs of the whole run.
        initial: Number of steps made before, for a resumed run.
        history: The epochs before, for a resumed run.
        caption: What the metrics are; empty for those of one model.
    """
    if shown == "lines":
        return EpochLines(epochs, caption=caption)
    if shown is not False and in_notebook():
        return NotebookProgress(total, initial=initial, history=history, caption=caption)
    return ProgressBar(total, initial=initial, shown=shown)


class EpochLines:
    """Writes one line per epoch, for a log; after an error in writing it writes nothing more.

    Args:
        epochs: Number of epochs of the whole run.
        caption: What the metrics are; empty for those of one model.
        file: Stream to write to; None means the standard error stream, which may be missing.
    """

    def __init__(self, epochs: int, *, caption: str = "", file: TextIO | None = None) -> None:
        self._epochs = epochs
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
        try:
            self._file.write(f"{self._line(row)}\n")
            self._file.flush()
        except (OSError, ValueError):  # ValueError: the stream is closed
            self._file = None

    def _line(self, row: EpochRow) -> str:
        """Return number, losses, metrics and duration of an epoch, as ``mlpkit train`` prints."""
        parts = [
            f"epoch {row.epoch + 1:>{len(str(self._epochs))}}/{self._epochs}",
            *filter(None, [self._caption]),
            f"train loss {row.train_loss:.4f}",
        ]
        if row.val_loss is not None:
            parts.append(f"val loss {row.val_loss:.4f}")
        if row.val_accuracy is not None:
            parts.append(f"val accuracy {row.val_accuracy:.2%}")
        if row.val_rmse is not None:
            parts.append(f"val RMSE {row.val_rmse:.4g}")
        parts += [f"val {name} {x:.4g}" for name, x in row.metrics.items() if x is not None]
        return "  ".join([*parts, f"{row.seconds:.1f} s"])

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
