"""Progress of a run in the output of a notebook cell: a bar, and a table of the epochs."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import time
from types import TracebackType
from typing import Protocol, Self

from tqdm import tqdm

from mlpkit.training.metrics import EpochRow, History

__all__ = ["NotebookProgress", "in_notebook"]

_MIN_INTERVAL = 0.25  # seconds between two redraws


def in_notebook() -> bool:
    """Return whether the process is the kernel of a notebook; imports nothing."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


class NotebookProgress:
    """A bar and a table with a row for each epoch, redrawn at most four times a second.

    The bar is the widget of tqdm if ipywidgets is installed, else a line of text below the table.
    The table is one display that is updated. At the end both show the last step and epoch; the bar
    is green after all steps, blue after a run that stopped earlier, and red after an exception.

    Args:
        total: Number of steps of the whole run, at least 1.
        initial: Number of steps made before, for a resumed run.
        history: The epochs before, for a resumed run; they are in the table.
        caption: What the metrics are; empty for those of one model.
    """

    def __init__(
        self, total: int, *, initial: int = 0, history: History | None = None, caption: str = ""
    ) -> None:
        self._total, self._initial, self._step = total, initial, initial
        self._caption = f"<p>{caption}</p>" if caption else ""
        self._history = History(() if history is None else history)
        self._start = time.monotonic()
        self._bar = _widget(total, initial) if importlib.util.find_spec("ipywidgets") else None
        self._display: _Display | None = None  # of the table
        self._drawn = -1  # number of epochs in the displayed table
        self._draw()
        self._next_redraw = self._start + _MIN_INTERVAL

    @property
    def is_shown(self) -> bool:
        """Whether anything is shown: always."""
        return True

    def update(self, step: int) -> None:
        """Set the number of completed steps."""
        self._step = step
        now = time.monotonic()
        if now >= self._next_redraw:
            self._draw()
            self._next_redraw = now + _MIN_INTERVAL

    def end_epoch(self, row: EpochRow, text: str) -> None:  # noqa: ARG002 - for the bar
        """Add a row to the table."""
        self._history.append(row)
        self.update(self._step)

    def _draw(self) -> None:
        if self._bar is not None:
            self._bar.n = self._step
            self._bar.refresh()
            if self._drawn == len(self._history) or not self._history:
                return
        self._drawn = len(self._history)
        html, text = self._caption, repr(self)
        if self._history:
            html += self._history._repr_html_()
        if self._bar is None:
            html += f"<pre>{text}</pre>"
        data = {"text/html": html, "text/plain": text}
        if self._display is None:
            ipython = importlib.import_module("IPython.display")
            self._display = ipython.display(data, raw=True, display_id=True)
        else:
            self._display.update(data, raw=True)

    def __repr__(self) -> str:
        seconds = time.monotonic() - self._start
        return tqdm.format_meter(
            self._step, self._total, seconds, initial=self._initial, unit="step"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._draw()
        if self._bar is not None:
            self._bar.close()  # red if steps are missing
            if kind is None and self._step < self._total:
                self._bar.disp(bar_style="info")


class _Display(Protocol):
    """The handle of IPython to something that is displayed."""

    def update(self, obj: object, *, raw: bool) -> None: ...


class _Widget(Protocol):
    """The attributes of tqdm's notebook bar that are used."""

    n: float

    def refresh(self) -> object: ...

    def close(self) -> None: ...

    def disp(self, *, bar_style: str) -> None: ...


def _widget(total: int, initial: int) -> _Widget:
    # monitor_interval=0 disables tqdm's thread, which would redraw a bar that has not changed
    base = importlib.import_module("tqdm.notebook").tqdm_notebook
    kind = type("Bar", (base,), {"monitor_interval": 0})
    bar: _Widget = kind(total=total, initial=initial, unit="step", dynamic_ncols=True)
    return bar
