"""One file from the first of several addresses that delivers it, whole and checked."""

from __future__ import annotations

import contextlib
import importlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol

from mlpkit._files import sweep_temporary, write_atomically
from mlpkit.errors import DataError, DownloadError

TIMEOUT = 30.0  # seconds without an answer, or of answering too slowly
LOCK_TIMEOUT = 600.0  # seconds to wait for another process that fetches the same file
_SLOWEST = 1024  # bytes in a second, on average


class _Download(Protocol):
    """What this module needs of :class:`pooch.HTTPDownloader`, which comes without types."""

    def __call__(self, url: str, output_file: _Sink, pooch: None) -> object: ...


class _UndeliveredError(Exception):
    """The network, or what is at the other end of it, refused."""


class _UnwritableError(Exception):
    """The disk, not the network, refused."""


def fetch(
    urls: Sequence[str],
    target: Path,
    *,
    check: Callable[[Path, str], object],
    max_bytes: int,
    advice: str,
    timeout: float = TIMEOUT,
    lock_timeout: float = LOCK_TIMEOUT,
) -> None:
    """Fetch a file that is not there yet, so that ``target`` only ever holds the whole good file.

    Every address is tried in turn until one delivers what passes the check, whatever goes wrong
    with those before. Of several processes that want the same file one fetches it and the others
    wait; should the lock fail or last too long, each fetches for itself, which is as correct.

    Args:
        urls: Addresses of the file.
        target: Where it goes; the folder is made.
        check: Called with the path of what came and a name for it; raises DataError to refuse it.
        max_bytes: More than the file can have; what is longer is cut off and refused.
        advice: What the user can do when every address failed.
        timeout: Seconds to wait for an answer; also the seconds after which less than 1 KiB in a
            second, on average, counts as no answer.
        lock_timeout: Seconds to wait for another process.

    Raises:
        DownloadError: If no address delivered the file, or the folder cannot be written to.
    """
    try:
        with folder_for_download(target.parent), locked(target, lock_timeout):
            if target.exists():  # another process was faster
                return
            sweep_temporary(target.parent)
            reasons = _try_each(urls, target, check, max_bytes, timeout)
    except (OSError, _UnwritableError) as error:
        raise DownloadError(
            f"{target} could not be written: {_innermost(error)}\n{advice}"
        ) from error
    if reasons:
        listed = "".join(f"\n  {url}: {reason}" for url, reason in reasons)
        raise DownloadError(f"{target.name} could not be downloaded:{listed}\n{advice}")


def _try_each(
    urls: Sequence[str],
    target: Path,
    check: Callable[[Path, str], object],
    max_bytes: int,
    timeout: float,
) -> list[tuple[str, str]]:
    """Return nothing if one address delivered, else what was wrong with each."""
    reasons = []
    for url in urls:
        try:
            write_atomically(
                target,
                partial(_deliver, url, max_bytes=max_bytes, timeout=timeout),
                check=lambda path: check(path, "what came"),
            )
        except _UndeliveredError as error:
            reasons.append((url, str(error)))
        except DataError as error:
            reasons.append((url, str(getattr(error, "problem", error))))
        else:
            return []
    return reasons


def _deliver(url: str, file: BinaryIO, *, max_bytes: int, timeout: float) -> None:
    """Download into an open file, and tell what the network did from what the disk did."""
    try:
        _download(url, file, max_bytes, timeout)
    except OSError as error:  # every exception of requests is one
        raise _UndeliveredError(_innermost(error)) from error


def _download(url: str, file: BinaryIO, max_bytes: int, timeout: float) -> None:
    """Stream one address into an open file by pooch, which knows proxies and certificates."""
    from tqdm import tqdm

    shown = sys.stderr is not None and sys.stderr.isatty()
    with tqdm(
        total=max_bytes,
        desc=url.rpartition("/")[2],
        unit="B",
        unit_scale=True,
        leave=False,
        disable=not shown,
    ) as progress:
        download: _Download = importlib.import_module("pooch").HTTPDownloader(
            progressbar=progress,
            timeout=timeout,
            headers={"Accept-Encoding": "identity"},  # the bytes as published
        )
        download(url, _Sink(file, max_bytes, timeout), None)


class _Sink:
    """The file that a download goes to, and the judge of its length and pace."""

    def __init__(self, file: BinaryIO, max_bytes: int, timeout: float) -> None:
        self._file = file
        self._left = max_bytes
        self._taken = 0
        self._timeout = timeout
        self._started = time.monotonic()

    def write(self, chunk: bytes) -> int:
        self._taken += len(chunk)
        self._left -= len(chunk)
        if self._left < 0:
            raise DataError(f"more than the {self._taken + self._left} bytes that it can have")
        seconds = time.monotonic() - self._started
        if seconds > self._timeout and self._taken < seconds * _SLOWEST:
            raise TimeoutError(f"only {self._taken} bytes came in {seconds:.0f} s")
        try:
            return self._file.write(chunk)
        except OSError as error:
            raise _UnwritableError from error

    def flush(self) -> None:
        """Do nothing: pooch asks after every chunk, and the file is flushed at the end."""


@contextlib.contextmanager
def folder_for_download(folder: Path) -> Iterator[None]:
    """Make a folder, and take away again what stays empty of it."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # not empty: something was downloaded, now or before
            for path in made:
                path.rmdir()


@contextlib.contextmanager
def locked(target: Path, timeout: float) -> Iterator[None]:
    """Hold the lock of a file while in the context, or go on without where there is none to have.

    It only saves work: a file system may know no locks, and a lock may be held for too long.
    """
    import filelock

    path = target.with_name(f".{target.name}.lock")
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(filelock.Timeout, NotImplementedError, OSError):
            stack.enter_context(filelock.FileLock(path, timeout=timeout))
            # Taken away while it is held; who waits for it then finds the file, or does the work.
            stack.callback(path.unlink, missing_ok=True)
        yield


def _innermost(error: BaseException) -> str:
    """Return the first cause, which libraries wrap into sentences that name everything else."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text.partition(" for url: ")[0] or type(error).__name__
