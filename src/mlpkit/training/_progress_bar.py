"""A progress bar that costs nothing where nobody looks at it."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from tqdm import tqdm

from mlpkit._checks import check_int

__all__ = ["ProgressBar"]

_SECONDS = 0.25  # between two drawings


class ProgressBar:
    """One line that shows how far a training is, drawn at most four times a second.

    Where it is not shown, nothing is created and every method returns at once.

    Args:
        total: Number of steps of the whole training, at least 1.
        initial: Number of steps made before, for a resumed training.
        shown: Show the bar; None shows it if ``file`` is a terminal.
        file: Where to draw; None means the standard error stream.

    Example:
        >>> from mlpkit.training import ProgressBar
        >>> with ProgressBar(total=100, shown=False) as bar:
        ...     bar.move_to(10)
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
        file = sys.stderr if file is None else file
        self._bar: tqdm[None] | None = None
        self._next_drawing = 0.0
        if file.isatty() if shown is None else shown:
            self._bar = _bar(total, initial, file)

    @property
    def is_shown(self) -> bool:
        """Whether there is a bar, so that its text is worth making."""
        return self._bar is not None

    def move_to(self, step: int) -> None:
        """Say how many steps are made; it is drawn if the last drawing is old enough."""
        if self._bar is None:
            return
        now = time.monotonic()
        if now >= self._next_drawing:
            self._draw(step)
            self._next_drawing = now + _SECONDS

    def say(self, text: str) -> None:
        """Set the text after the bar, for instance the validation error of the last epoch."""
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)

    def close(self, step: int | None = None) -> None:
        """Draw a last time, at ``step`` steps if given, and leave the line where it is."""
        if self._bar is not None:
            if step is not None:
                self._draw(step)
            self._bar.close()
            self._bar = None

    def _draw(self, step: int) -> None:
        if self._bar is not None:
            self._bar.n = step
            self._bar.refresh()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def _bar(total: int, initial: int, file: TextIO) -> tqdm[None]:
    # without tqdm's thread, which would only redraw what has not moved
    kind = type("Bar", (tqdm,), {"monitor_interval": 0})
    bar: tqdm[None] = kind(total=total, initial=initial, unit="step", file=file, dynamic_ncols=True)
    return bar
