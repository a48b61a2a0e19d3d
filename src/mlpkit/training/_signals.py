"""SIGTERM and Ctrl-C ask a training to stop after its step; the second one stops it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import TypeAlias

__all__ = ["SIGNALS", "StopSignals"]

SIGNALS = (signal.SIGTERM, signal.SIGINT)

_Handler: TypeAlias = Callable[[int, FrameType | None], object] | int | None


class StopSignals:
    """Remembers the first SIGTERM or SIGINT while a ``with`` block runs.

    The handler only notes the number: no lock, no I/O, nothing that could happen in the middle of
    something else. Whoever runs the block asks ``signum`` where it can stop. The second signal
    gets the handler that was there before the block: Ctrl-C raises ``KeyboardInterrupt`` and
    SIGTERM ends the process. Outside the main thread Python delivers no signals, so the block
    does nothing there; and a handler that was installed by something other than Python stays.

    Attributes:
        signum: Number of the signal that came, or None.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._previous: dict[signal.Signals, _Handler] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                previous = signal.getsignal(number)
                if previous is not None:  # None: installed from C, could not be put back
                    self._previous[number] = previous
                    signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._restore()

    def _note(self, signum: int, _frame: FrameType | None) -> None:
        if self.signum is None:
            self.signum = signum
        else:
            self._restore()
            signal.raise_signal(signum)

    def _restore(self) -> None:
        while self._previous:
            signal.signal(*self._previous.popitem())
