"""Runs a test file against mutants of its source file, each in a forked process."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import Phase, settings

__all__ = ["TestedFile", "tested_file"]

# Imported once, before the forks, and never mutated.
_HEAVY = (
    *("numpy", "torch", "torchvision", "scipy.integrate", "scipy.stats", "sklearn", "pandas"),
    *("PIL.Image", "safetensors.torch", "tqdm", "pooch"),
)


class _Plugin:
    """Measures the tests of a run, or runs the fastest first."""

    def __init__(self, durations: Mapping[str, float]) -> None:
        self.known = durations
        self.measured: dict[str, float] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Sort the tests by their time."""
        items.sort(key=lambda item: self.known.get(item.nodeid, 0.0))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add the time of one phase of a test."""
        self.measured[report.nodeid] = self.measured.get(report.nodeid, 0.0) + report.duration


class TestedFile:
    """A source file in a copy of the package, and the test file that mirrors it.

    Raises:
        RuntimeError: If the tests fail without a mutation.
    """

    def __init__(self, source: Path, tests: Path, folder: Path) -> None:
        self._source, self._tests, self._folder = source, tests, folder
        self._durations: dict[str, float] = {}
        self._time_limit = 600.0
        start = time.monotonic()
        if not self._run(writes_bytecode=True):
            output = (folder / "output").read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"{tests} fails without a mutation:\n{output}")
        self._time_limit = 10.0 + 4.0 * (time.monotonic() - start)
        self._durations = json.loads((folder / "durations").read_text(encoding="utf-8"))
        # A mutant of the same size, written in the same second, would pass for the original.
        Path(importlib.util.cache_from_source(source)).unlink(missing_ok=True)

    def kills(self, mutated: str) -> bool:
        """Return whether a test fails, or does not end, with a mutated source."""
        self._source.write_text(mutated, encoding="utf-8")
        return not self._run(writes_bytecode=False)

    def _run(self, *, writes_bytecode: bool) -> bool:
        """Return whether all tests pass within the time limit, in a child process."""
        child = os.fork()
        if child == 0:
            os.setsid()
            code = 1
            try:
                code = self._run_here(writes_bytecode=writes_bytecode)
            except BaseException:  # noqa: BLE001  # nothing may return into the parent's code
                traceback.print_exc()
            os._exit(code)
        end = time.monotonic() + self._time_limit
        delay = 0.001
        while True:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status) == 0
            if time.monotonic() > end:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return False
            time.sleep(delay)
            delay = min(2 * delay, 0.05)

    def _run_here(self, *, writes_bytecode: bool) -> int:
        output = os.open(self._folder / "output", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        if not writes_bytecode:
            sys.dont_write_bytecode = True
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        plugin = _Plugin(self._durations)
        options = [
            *("-x", "-q", "-p", "no:cacheprovider", "--hypothesis-profile=mutation"),
            "--tb=short" if writes_bytecode else "--tb=no",
            # hypothesis is imported before the fork.
            *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
            str(self._tests),
        ]
        code = int(pytest.main(options, plugins=[plugin]))
        if not self._durations:
            (self._folder / "durations").write_text(json.dumps(plugin.measured), encoding="utf-8")
        return code


@contextmanager
def tested_file(package: Path, name: str, tests: Path) -> Iterator[TestedFile]:
    """Prepare the tests of one file of a package; the package itself is not changed.

    Args:
        package: Folder of the package.
        name: Path of the source file in the package.
        tests: The test file.
    """
    for module in _HEAVY:
        importlib.import_module(module)
    # A failure is enough: no search for the smallest example.
    phases = (Phase.explicit, Phase.generate)
    settings.register_profile("mutation", phases=phases, derandomize=True, database=None)
    gc.freeze()  # otherwise each child collects the objects of all imported modules
    with TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        copy = folder / "src"
        shutil.copytree(package, copy / package.name)
        # For the tests themselves and for processes that they start.
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = str(copy) if before is None else f"{copy}{os.pathsep}{before}"
        sys.path.insert(0, str(copy))
        try:
            yield TestedFile(copy / package.name / name, tests, folder)
        finally:
            gc.unfreeze()
            sys.path.remove(str(copy))
            if before is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = before
