"""SIGTERM and Ctrl-C stop a run after the current step; a second signal stops it immediately."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import TypeAlias

from mlpkit.errors import TrainingInterrupted, TrainingKeyboardInterrupt

__all__ = ["SIGNALS", "StopSignals", "interruption"]

SIGNALS = (signal.SIGTERM, signal.SIGINT)

_Handler: TypeAlias = Callable[[int, FrameType | None], object] | int | None


class StopSignals:
    """Stores the first SIGTERM or SIGINT that arrives within a ``with`` block.

    The handler only stores the number of the signal, which is safe at any point of the program.
    The code in the block reads ``signum`` where it can stop. The second signal is delivered to the
    handler that was installed before the block: Ctrl-C raises ``KeyboardInterrupt`` and SIGTERM
    ends the process. Outside of the main thread the block has no effect, since Python delivers
    signals to the main thread only. A handler that was not installed from Python is not replaced,
    and an ignored signal stays ignored, as in a background job of a shell or under ``nohup``.

    Attributes:
        signum: Number of the signal that arrived; None before one.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._previous: dict[signal.Signals, _Handler] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                previous = signal.getsignal(number)
                # None: installed from C, could not be restored
                if previous is not None and previous is not signal.SIG_IGN:
                    self._previous[number] = previous
                    signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._restore()

    def _handle(self, signum: int, _frame: FrameType | None) -> None:
        if self.signum is None:
            self.signum = signum
        else:
            self._restore()
            signal.raise_signal(signum)

    def _restore(self) -> None:
        while self._previous:
            signal.signal(*self._previous.popitem())


def interruption(
    signum: int, checkpoint: Path | None
) -> TrainingInterrupted | TrainingKeyboardInterrupt:
    """Return the exception of a run that a signal stopped."""
    if signum == signal.SIGINT:
        return TrainingKeyboardInterrupt(signum, checkpoint)
    return TrainingInterrupted(signum, checkpoint)
