"""Progress bar of a run; it does nothing if it is not shown."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from typing import Self, TextIO

from tqdm import tqdm

from mlpkit._checks import check_int
from mlpkit.training.metrics import EpochRow

__all__ = ["ProgressBar"]

_MIN_INTERVAL = 0.25  # seconds between two redraws


class ProgressBar:
    """A line with the progress of a run, redrawn at most four times a second.

    If the bar is not shown, no bar is created and every method returns immediately. It is not shown
    if the process has no standard error stream, and no longer shown after an error in writing to
    the stream: a run does not end because its terminal is gone.

    Args:
        total: Number of steps of the whole run, at least 1.
        initial: Number of steps made before, for a resumed run.
        shown: Show the bar; None shows it if ``file`` is a terminal.
        file: Stream to draw on; None means the standard error stream, which may be missing.

    Example:
        >>> from mlpkit.training._progress_bar import ProgressBar
        >>> with ProgressBar(total=100, shown=False) as bar:
        ...     bar.update(10)
    """

    def __init__(
        self,
        total: int,
        *,
        initial: int = 0,
        shown: bool | None = None,
        file: TextIO | None = None,
    ) -> None:
        check_int("total", total, minimum=1)
        check_int("initial", initial, minimum=0)
        stream: TextIO | None = sys.stderr if file is None else file  # None under pythonw or `2>&-`
        self._bar: tqdm[None] | None = None
        self._step = initial
        self._next_redraw = 0.0
        if stream is not None and (_is_terminal(stream) if shown is None else shown):
            with contextlib.suppress(OSError, ValueError):
                self._bar = _bar(total, initial, stream)

    @property
    def is_shown(self) -> bool:
        """Whether the bar is shown."""
        return self._bar is not None

    def update(self, step: int) -> None:
        """Set the number of completed steps; redraws at most four times a second."""
        if self._bar is None:
            return
        self._step = step
        now = time.monotonic()
        if now >= self._next_redraw:
            self._redraw(step)
            self._next_redraw = now + _MIN_INTERVAL

    def end_epoch(self, row: EpochRow, text: str) -> None:  # noqa: ARG002 - for a table
        """Show the text of an epoch after the bar."""
        self.set_text(text)

    def set_text(self, text: str) -> None:
        """Set the text after the bar, for instance the validation error of the last epoch."""
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)

    def close(self, step: int | None = None) -> None:
        """Redraw at ``step`` completed steps, if given, and close the bar; the line remains."""
        if self._bar is not None:
            if step is not None:
                self._redraw(step)
            self._draw(tqdm.close)
            self._bar = None

    def _redraw(self, step: int) -> None:
        if self._bar is not None:
            self._bar.n = step
            self._draw(tqdm.refresh)

    def _draw(self, draw: Callable[[tqdm[None]], object]) -> None:
        """Call a method of the bar that writes; if the stream cannot be written, drop the bar."""
        if self._bar is None:
            return
        try:
            draw(self._bar)
        except (OSError, ValueError):  # ValueError: the stream is closed
            self._bar.disable = True  # tqdm writes again when it is deleted
            self._bar = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close(self._step)


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, OSError, ValueError):  # a partial stream, or a closed one
        return False


def _bar(total: int, initial: int, file: TextIO) -> tqdm[None]:
    # monitor_interval=0 disables tqdm's thread, which would redraw a bar that has not changed
    kind = type("Bar", (tqdm,), {"monitor_interval": 0})
    bar: tqdm[None] = kind(total=total, initial=initial, unit="step", file=file, dynamic_ncols=True)
    return bar
