"""Downloading one file from the first of several mirrors that delivers it intact."""

from __future__ import annotations

import contextlib
import importlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol

from mlpkit._files import make_folder, sweep_temporary, write_atomically
from mlpkit.errors import DataError, DownloadError

TIMEOUT = 30.0  # seconds without a response, or with a response below the minimum rate
LOCK_TIMEOUT = 600.0  # seconds to wait for another process that downloads the same file
_MIN_RATE = 1024  # bytes per second, on average


class _Download(Protocol):
    """The call of :class:`pooch.HTTPDownloader`, which has no type annotations."""

    def __call__(self, url: str, output_file: _Sink, pooch: None) -> object: ...


class _NetworkError(Exception):
    """The network or the server failed; another mirror may still work."""


class _DiskError(Exception):
    """Writing to the disk failed; another mirror would fail in the same way."""


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
    """Download a missing file; ``target`` never holds an incomplete or unchecked file.

    The URLs are tried in order until one delivers a file that passes the check. If several
    processes want the same file, one downloads it and the others wait. If locking fails or takes
    too long, each process downloads the file itself, which gives the same result.

    Args:
        urls: URLs of the file.
        target: Path of the file; its folder is created if needed.
        check: Called with the path of the downloaded file and a name for error messages; raises
            DataError to reject the file.
        max_bytes: Upper bound of the size of the file; a longer response is rejected.
        advice: Advice to the user, which ends the error message if every URL fails.
        timeout: Seconds to wait for a response, and also the seconds after which an average rate
            below 1 KiB per second counts as a failure.
        lock_timeout: Seconds to wait for another process.

    Raises:
        DownloadError: If no URL delivers the file, or the folder is not writable.
    """
    try:
        with folder_for_download(target.parent), locked(target, lock_timeout):
            if target.exists():  # another process has downloaded it in the meantime
                return
            sweep_temporary(target.parent)
            reasons = _try_each(urls, target, check, max_bytes, timeout)
    except (OSError, _DiskError) as error:
        raise DownloadError(
            f"{target} could not be written: {_root_cause(error)}\n{advice}"
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
    """Return an empty list if a URL delivered the file, else pairs of URL and failure."""
    reasons = []
    for url in urls:
        try:
            write_atomically(
                target,
                partial(_download_to, url, max_bytes=max_bytes, timeout=timeout),
                check=lambda path: check(path, "the downloaded file"),
            )
        except _NetworkError as error:
            reasons.append((url, str(error)))
        except DataError as error:
            reasons.append((url, str(error).rpartition("; ")[0] or str(error)))  # without advice
        else:
            return []
    return reasons


def _download_to(url: str, file: BinaryIO, *, max_bytes: int, timeout: float) -> None:
    """Download into an open file, and report network failures as ``_NetworkError``."""
    try:
        _download(url, file, max_bytes, timeout)
    except OSError as error:  # the base class of every exception of requests
        raise _NetworkError(_root_cause(error)) from error


def _download(url: str, file: BinaryIO, max_bytes: int, timeout: float) -> None:
    """Stream a URL into an open file with pooch, which supports proxies and certificates."""
    from tqdm import tqdm

    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    with tqdm(
        total=max_bytes,
        desc=url.rpartition("/")[2],
        unit="B",
        unit_scale=True,
        leave=False,
        disable=not on_terminal,
    ) as progress:
        download: _Download = importlib.import_module("pooch").HTTPDownloader(
            progressbar=progress,
            timeout=timeout,
            headers={"Accept-Encoding": "identity"},  # no transfer compression: published bytes
        )
        download(url, _Sink(file, max_bytes, timeout), None)


class _Sink:
    """A file-like object that enforces the maximum length and the minimum rate of a download."""

    def __init__(self, file: BinaryIO, max_bytes: int, timeout: float) -> None:
        self._file = file
        self._max_bytes = max_bytes
        self._received = 0
        self._timeout = timeout
        self._started = time.monotonic()

    def write(self, chunk: bytes) -> int:
        self._received += len(chunk)
        if self._received > self._max_bytes:
            raise DataError(f"the response exceeds {self._max_bytes} bytes, the maximum size")
        seconds = time.monotonic() - self._started
        if seconds > self._timeout and self._received < seconds * _MIN_RATE:
            raise TimeoutError(f"only {self._received} bytes received in {seconds:.0f} s")
        try:
            return self._file.write(chunk)
        except OSError as error:
            raise _DiskError from error

    def flush(self) -> None:
        """Do nothing: pooch calls this after every chunk, and the file is flushed at the end."""


@contextlib.contextmanager
def folder_for_download(folder: Path) -> Iterator[None]:
    """Create a folder with its parents; on exit, remove those that are still empty."""
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    make_folder(folder)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # not empty
            for path in created:
                path.rmdir()


@contextlib.contextmanager
def locked(target: Path, timeout: float) -> Iterator[None]:
    """Hold the lock of a file within the context, or continue without it on failure.

    The lock only avoids duplicate downloads. The file system may not support locks, and another
    process may hold the lock for too long.
    """
    import filelock

    path = target.with_name(f".{target.name}.lock")
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(filelock.Timeout, NotImplementedError, OSError):
            stack.enter_context(filelock.FileLock(path, timeout=timeout))
            # The lock file is removed while the lock is held. A process that waits for it then
            # finds the downloaded file, or downloads it again.
            stack.callback(path.unlink, missing_ok=True)
        yield


def _root_cause(error: BaseException) -> str:
    """Return the message of the first exception of the chain, which names the actual failure."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text.partition(" for url: ")[0] or type(error).__name__
