"""The command `mlpkit`: read the command line, run what it says, end with an exit code."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import TextIO

from mlpkit.errors import MlpkitError, TrainingInterrupted

__all__ = ["main", "run"]

FAILED = 1
MISUSED = 2
SIGNALLED = 128
INTERRUPTED = SIGNALLED + signal.SIGINT  # as a shell says it


def main() -> None:
    """Run the command line of this process, and exit."""
    code = run(sys.argv[1:])
    # What was asked for is done: a Ctrl-C from here on would only spoil the interpreter's end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for stream in (sys.stdout, sys.stderr):
        code = _delivered(stream, code)
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code.

    Args:
        arguments: The words after ``mlpkit``.

    Returns:
        0: done. 1: something is wrong with the data, a file or the run. 2: the command line, or
        the configuration file that it names, is wrong; nothing was touched. 130: Ctrl-C. 128 plus
        the number of any other signal, for instance 143 for SIGTERM.
    """
    try:
        return _parse_and_run(arguments)
    except TrainingInterrupted as interruption:
        _complain(str(interruption))
        return SIGNALLED + interruption.signum
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        return FAILED
    except (MlpkitError, OSError, ValueError, MemoryError) as error:
        _complain(str(error) or "out of memory; make the network or the batches smaller")
        return FAILED
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise  # a defect of ours, whose traceback belongs into a report
        _complain(f"out of memory; make the network or the batches smaller ({error})")
        return FAILED


def _parse_and_run(arguments: Sequence[str]) -> int:
    with _interruptible_at_once():
        from mlpkit.cli._commands import parse
    try:
        command = parse(arguments)
    except (MlpkitError, TypeError, ValueError) as error:
        _complain(str(error))
        return MISUSED
    command.run()
    return 0


@contextlib.contextmanager
def _interruptible_at_once() -> Iterator[None]:
    """End the process on Ctrl-C without unwinding, for as long as nothing has been begun.

    An exception in the middle of importing torch comes out as one of many others, or not at all.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # whoever runs this process has other plans with the signal
        return
    signal.signal(signal.SIGINT, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(_signum: int, _frame: FrameType | None) -> None:
    with contextlib.suppress(OSError):
        os.write(2, b"mlpkit: interrupted\n")
    os._exit(INTERRUPTED)


def _delivered(stream: TextIO, code: int) -> int:
    """Return the exit code after what was printed has left the process, or could not.

    What stays in the buffer would be tried again while the interpreter ends, with a complaint of
    its own and exit code 120.
    """
    try:
        stream.flush()
    except OSError as error:
        with contextlib.suppress(OSError, ValueError):  # no descriptor: nothing to be tried again
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if stream is sys.stdout and not isinstance(error, BrokenPipeError):
            _complain(f"the output cannot be written: {error}")
        return code or FAILED
    return code


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether torch could not get memory; on a CPU it has no exception of its own."""
    return "can't allocate memory" in str(error) or "out of memory" in str(error)


def _complain(message: str) -> None:
    with contextlib.suppress(OSError):  # standard error is full or closed: nobody to tell
        print(f"mlpkit: {message}", file=sys.stderr)
