"""The command `mlpkit`: parse the command line, run the command, return an exit code."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from types import FrameType
from typing import TextIO

from mlpkit.cli._output import accept_any_text, as_options
from mlpkit.errors import (
    DataError,
    MissingDependencyError,
    MlpkitError,
    TrainingInterrupted,
    TrainingKeyboardInterrupt,
)

__all__ = ["main", "run"]

FAILED = 1
MISUSED = 2
SIGNALED = 128
INTERRUPTED = SIGNALED + signal.SIGINT  # the exit code that shells report for Ctrl-C


def main() -> None:
    """Run the command line of this process and exit."""
    accept_any_text()
    code = run(sys.argv[1:])
    # The command is done. A Ctrl-C from here on would only disturb the interpreter's shutdown.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None: closed by the parent process
        code = _flush(stream, code)
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code.

    Args:
        arguments: The arguments after ``mlpkit``.

    Returns:
        0: success. 1: an error in the data, a file or the run. 2: an invalid command line or
        configuration file; nothing was written. 130: Ctrl-C. 128 plus the number of any other
        signal, for instance 143 for SIGTERM.
    """
    try:
        return _parse_and_run(arguments)
    except (TrainingInterrupted, TrainingKeyboardInterrupt) as interruption:
        _print_error(str(interruption))
        return SIGNALED + interruption.signum
    except KeyboardInterrupt:
        _print_error("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of the output has exited, as in `| head`
        return FAILED
    except (MlpkitError, OSError, ValueError, MemoryError) as error:
        _print_error(
            as_options(str(error)) or "out of memory; make the network or the batches smaller"
        )
        return FAILED
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise  # a bug in mlpkit; a report of it needs the traceback
        _print_error(f"out of memory; make the network or the batches smaller ({error})")
        return FAILED


def _parse_and_run(arguments: Sequence[str]) -> int:
    if list(arguments) == ["--version"]:  # before the import of torch, which takes seconds
        print(f"mlpkit {version('mlpkit')}")
        return 0
    with _exit_at_once_on_interrupt():
        from mlpkit.cli._commands import parse
    try:
        command = parse(arguments)
    except (DataError, MissingDependencyError):  # of a file that determines defaults
        raise
    except (MlpkitError, TypeError, ValueError) as error:
        _print_error(as_options(str(error)))
        return MISUSED
    command.run()
    return 0


@contextlib.contextmanager
def _exit_at_once_on_interrupt() -> Iterator[None]:
    """Exit on Ctrl-C without raising, as long as no command has started.

    A KeyboardInterrupt raised during the import of torch may be replaced by another exception or
    suppressed.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # the embedding process has its own handler
        return
    signal.signal(signal.SIGINT, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _exit(_signum: int, _frame: FrameType | None) -> None:
    with contextlib.suppress(OSError):
        os.write(2, b"mlpkit: interrupted\n")
    os._exit(INTERRUPTED)


def _flush(stream: TextIO, code: int) -> int:
    """Flush a stream and return the exit code, which becomes 1 if the stream cannot be flushed.

    The interpreter would flush a nonempty buffer again at exit, print its own error message and
    exit with code 120.
    """
    try:
        stream.flush()
    except OSError as error:
        with contextlib.suppress(OSError, ValueError):  # without a descriptor nothing is flushed
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if stream is sys.stdout and not isinstance(error, BrokenPipeError):
            _print_error(f"the output cannot be written: {error}")
        return code or FAILED
    return code


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether torch failed to allocate memory; on a CPU it raises a plain RuntimeError."""
    return "can't allocate memory" in str(error) or "out of memory" in str(error)


def _print_error(message: str) -> None:
    if sys.stderr is None:
        return  # print would write to standard output instead
    with contextlib.suppress(OSError):  # standard error is full or closed
        print(f"mlpkit: {message}", file=sys.stderr)
