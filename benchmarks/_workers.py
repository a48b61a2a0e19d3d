"""Each contender in a process of its own, kept warm and driven in turn, so only one runs at a time.

Frameworks set global switches, start thread pools and allocate in their own ways; in one process
the second would be measured with the first one's leftovers. In processes that run one after the
other, drift of the machine would fall on some and spare others. So all processes live at once,
idle, and the rounds go through them.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

Measured = TypeVar("Measured")
Measure = Callable[[int], Measured]
"""What a worker keeps: called with a seed, it does one turn and returns what it measured."""


class ContenderError(RuntimeError):
    """A contender did not do its turn; the message ends with the traceback of its process."""


class Worker(Generic[Measured]):
    """A process that builds one contender and then does one turn each time it is asked.

    Args:
        name: Shown where something goes wrong.
        build: A function of a module, called in the process with ``arguments``.
        arguments: What ``build`` is called with; pickled.
    """

    def __init__(
        self, name: str, build: Callable[..., Measure[Measured]], arguments: Sequence[object]
    ) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, build, tuple(arguments)), name=name, daemon=True
        )
        self._process.start()
        theirs.close()
        self._receive()

    def turn(self, seed: int) -> Measured:
        """Do one turn in the process and return what it measured."""
        self._connection.send(seed)
        return self._receive()

    def _receive(self) -> Measured:
        try:
            measured, trouble = self._connection.recv()
        except EOFError:
            self._process.join()
            raise ContenderError(
                f"{self.name} died with exit code {self._process.exitcode}"
            ) from None
        if trouble is not None:
            raise ContenderError(f"{self.name} failed:\n{trouble}")
        result: Measured = measured
        return result

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._connection.close()
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.terminate()


def in_turn(
    contenders: Sequence[tuple[str, Callable[..., Measure[Measured]], tuple[object, ...]]],
    repeats: int,
) -> list[list[Measured]]:
    """Return what each contender measured from seeds 1 to ``repeats``, after one turn to warm up.

    Args:
        contenders: What :class:`Worker` takes, for each.
        repeats: Number of rounds, each of one turn of every contender.
    """
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(Worker(*contender)) for contender in contenders]
        for worker in workers:
            worker.turn(0)
        rounds = [[worker.turn(seed) for worker in workers] for seed in range(1, repeats + 1)]
    return [list(turns) for turns in zip(*rounds, strict=True)]


def _serve(
    connection: Connection,
    build: Callable[..., Measure[Measured]],
    arguments: tuple[object, ...],
) -> None:
    """Run in the worker: build, say so, then one turn for each seed until the pipe closes."""
    _be_quiet()
    try:
        measure = build(*arguments)
        connection.send((None, None))
        while True:
            connection.send((measure(connection.recv()), None))
    except EOFError:
        return
    except Exception:  # noqa: BLE001 - whatever it is, the parent raises it with this text
        connection.send((None, traceback.format_exc()))


def _be_quiet() -> None:
    """Send what frameworks print to a file that nobody keeps, and drop their warnings."""
    warnings.simplefilter("ignore")
    os.environ["PYTHONWARNINGS"] = "ignore"
    logging.disable(logging.WARNING)
    sys.stdout.flush()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)


def here() -> Path:
    """Return the root of the repository, where ``python -m benchmarks`` runs."""
    return Path(__file__).resolve().parent.parent
