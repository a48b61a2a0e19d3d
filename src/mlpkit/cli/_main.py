"""The command `mlpkit`: read the command line, run what it says, end with an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mlpkit.errors import MlpkitError, TrainingInterrupted

__all__ = ["main", "run"]

FAILED = 1
MISUSED = 2
INTERRUPTED = 130  # 128 + SIGINT, as a shell says it
SIGNALLED = 128


def main() -> None:
    """Run the command line of this process, and exit."""
    sys.exit(run(sys.argv[1:]))


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
        sys.stderr.close()
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
    from mlpkit.cli._commands import parse

    try:
        command = parse(arguments)
    except (MlpkitError, TypeError, ValueError) as error:
        _complain(str(error))
        return MISUSED
    command.run()
    return 0


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether torch could not get memory; on a CPU it has no exception of its own."""
    return "can't allocate memory" in str(error) or "out of memory" in str(error)


def _complain(message: str) -> None:
    print(f"mlpkit: {message}", file=sys.stderr)
