"""Downloads from a local HTTP server that shows every kind of failure, and correct answers."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.server
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock
import pytest
import torch

from mlpkit._files import TEMPORARY_SUFFIX
from mlpkit.data import encode_idx, read_idx
from mlpkit.data.sets._download import fetch, locked
from mlpkit.data.sets._idx import Expected, read_expected
from mlpkit.errors import DataError, DownloadError

PIXELS = torch.randint(
    0, 256, (60, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
CONTENT = encode_idx(PIXELS)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ARCHIVE = gzip.compress(CONTENT, mtime=0)
MAX_BYTES = len(CONTENT) + 2**16
NAME = "images-idx3-ubyte.gz"
ADVICE = "put the file there"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers according to the first part of the path, which names a kind of answer."""

    @property
    def site(self) -> Server:
        assert isinstance(self.server, Server)
        return self.server

    def do_GET(self) -> None:
        kind = self.path.split("/")[1]
        self.site.asked.append(kind)
        ANSWERS[kind](self)

    def log_message(self, *_: object) -> None:
        """Suppress logging."""

    def answer(
        self, body: bytes, *, status: int = 200, length: int | None = None, packed: bool = False
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        if packed:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    """A server on the loopback interface that stores the kinds of answers requested."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.release = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that disconnect, as the tests intend."""

    def url(self, kind: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{kind}/{NAME}"


def silent(handler: Handler) -> None:
    """Accept the request and do not answer."""
    handler.site.release.wait(20)


def stalling(handler: Handler) -> None:
    """Send half of the file, then nothing, and keep the connection open."""
    handler.answer(ARCHIVE[: len(ARCHIVE) // 2], length=len(ARCHIVE))
    handler.wfile.flush()
    handler.site.release.wait(20)


def trickling(handler: Handler) -> None:
    """Send a few bytes at a time, so that no single wait exceeds the timeout."""
    handler.answer(b"", length=len(ARCHIVE))
    for start in range(0, len(ARCHIVE), 20):
        handler.wfile.write(ARCHIVE[start : start + 20])
        if handler.site.release.wait(0.05):
            return


def leisurely(handler: Handler) -> None:
    """Send the file within a second, in ten parts."""
    handler.answer(b"", length=len(ARCHIVE))
    step = len(ARCHIVE) // 10
    for start in range(0, len(ARCHIVE), step):
        handler.wfile.write(ARCHIVE[start : start + step])
        time.sleep(0.1)


def cutting(handler: Handler) -> None:
    """Reset the connection after half of the file."""
    handler.answer(ARCHIVE[: len(ARCHIVE) // 2], length=len(ARCHIVE))
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.wfile.flush()
    handler.connection.close()


def redirecting(handler: Handler) -> None:
    handler.send_response(302)
    handler.send_header("Location", f"/good/{NAME}")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def obliging(handler: Handler) -> None:
    """Send the file only to clients that do not accept transfer compression."""
    asked_for_gzip = "gzip" in handler.headers.get("Accept-Encoding", "")
    handler.answer(PAGE if asked_for_gzip else ARCHIVE)


def endless(handler: Handler) -> None:
    """Send bytes without end and without a Content-Length."""
    handler.send_response(200)
    handler.end_headers()
    with contextlib.suppress(ConnectionError):
        while not handler.site.release.is_set():
            handler.wfile.write(bytes(2**16))


WRONG = encode_idx(PIXELS ^ 1)
PAGE = b"<!DOCTYPE html><html>Please sign in</html>"
ANSWERS: dict[str, Callable[[Handler], object]] = {
    "good": lambda handler: handler.answer(ARCHIVE),
    "plain": lambda handler: handler.answer(CONTENT),
    "recompressed": lambda handler: handler.answer(gzip.compress(CONTENT, 1)),
    "packed-in-transit": lambda handler: handler.answer(gzip.compress(CONTENT, 6), packed=True),
    "redirecting": redirecting,
    "leisurely": leisurely,
    "obliging": obliging,
    "silent": silent,
    "stalling": stalling,
    "trickling": trickling,
    "cutting": cutting,
    "endless": endless,
    "half": lambda handler: handler.answer(ARCHIVE[: len(ARCHIVE) // 2]),
    "too-short": lambda handler: handler.answer(ARCHIVE[:-500], length=len(ARCHIVE)),
    "empty": lambda handler: handler.answer(b""),
    "page": lambda handler: handler.answer(PAGE),
    "wrong": lambda handler: handler.answer(gzip.compress(WRONG)),
    "other-shape": lambda handler: handler.answer(gzip.compress(encode_idx(PIXELS[:50]))),
    "404": lambda handler: handler.answer(PAGE, status=404),
    "503": lambda handler: handler.answer(PAGE, status=503),
}
DELIVER = (
    "good",
    "plain",
    "recompressed",
    "packed-in-transit",
    "redirecting",
    "leisurely",
    "obliging",
)
# Kind of failing answer -> the reason in the error message.
SLOW = ("silent", "stalling", "trickling")  # answers that end by the timeout
FAIL = {
    "silent": "timed out",
    "stalling": "timed out",
    "trickling": "bytes received in",
    "cutting": "Connection reset by peer|IncompleteRead|Connection broken",
    "endless": f"the response exceeds {MAX_BYTES} bytes, the maximum size",
    "half": "the downloaded file must be a complete IDX file, got damaged gzip data",
    "too-short": "IncompleteRead",
    "empty": "the downloaded file must be an IDX file .*, got an empty file",
    "page": "the downloaded file must be an IDX file, .*a web page",
    "wrong": (
        "the downloaded file must be the published file, whose decompressed bytes have SHA-256 "
        f"{SHA256}"
    ),
    "other-shape": r"the downloaded file must be of shape \(60, 28, 28\), got shape \(50, 28, 28\)",
    "404": "404 Client Error: Not Found",
    "503": "503 Server Error: Service Unavailable",
}


@pytest.fixture
def server() -> Iterator[Server]:
    """A running server for one test."""
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running
        running.release.set()
        running.shutdown()
        thread.join()


def check(path: Path, name: str) -> None:
    """Accept a file whose decompressed bytes are the content."""
    read_expected(path, Expected(shape=(60, 28, 28), sha256=SHA256), name=name)


def fetched(urls: list[str], target: Path) -> None:
    """Fetch the file, with a short timeout only for answers that are meant to time out."""
    timeout = 2.0 if any(kind in urls[0] for kind in SLOW) else 30.0
    fetch(urls, target, check=check, max_bytes=MAX_BYTES, advice=ADVICE, timeout=timeout)


def test_every_kind_of_answer_is_tested() -> None:
    """Each kind of answer is expected either to deliver the file or to fail."""
    assert {*DELIVER, *FAIL} == set(ANSWERS)


@pytest.mark.parametrize("kind", DELIVER)
def test_the_file_is_fetched(kind: str, server: Server, tmp_path: Path) -> None:
    """Every encoding of the content is accepted, and only the file remains in the folder."""
    target = tmp_path / "deep" / "folder" / NAME
    fetched([server.url(kind)], target)
    assert torch.equal(read_idx(target), PIXELS)
    assert [path.name for path in target.parent.iterdir()] == [NAME]


@pytest.mark.parametrize(("kind", "reason"), FAIL.items(), ids=FAIL)
def test_the_next_url_is_tried_after_every_failure(
    kind: str, reason: str, server: Server, tmp_path: Path
) -> None:
    """A working URL after a failing one delivers the file."""
    target = tmp_path / NAME
    fetched([server.url(kind), server.url("good")], target)
    assert torch.equal(read_idx(target), PIXELS)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert server.asked == [kind, "good"]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        pytest.param(kind, reason, marks=[pytest.mark.long] if kind in SLOW else [], id=kind)
        for kind, reason in FAIL.items()
    ],
)
def test_if_all_urls_fail_each_one_has_its_reason(
    kind: str, reason: str, server: Server, tmp_path: Path
) -> None:
    """The message lists each URL with its failure, then the advice; no file remains."""
    urls = [server.url(kind), server.url("404")]
    with pytest.raises(DownloadError, match="could not be downloaded") as caught:
        fetched(urls, tmp_path / "new" / "folder" / NAME)
    first, second, third, last = str(caught.value).splitlines()
    assert first == f"{NAME} could not be downloaded:"
    assert re.fullmatch(rf"  {re.escape(urls[0])}: .*({reason}).*", second), second
    assert third == f"  {urls[1]}: 404 Client Error: Not Found"
    assert last == ADVICE
    assert list(tmp_path.iterdir()) == []


def test_unreachable_urls(tmp_path: Path) -> None:
    """A closed port, an unknown host, and URLs without or with an unsupported scheme."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}/{NAME}"
    urls = [closed, f"http://mlpkit.invalid/{NAME}", f"no-scheme/{NAME}", f"ftp://x/{NAME}"]
    with pytest.raises(DownloadError, match="could not be downloaded") as caught:
        fetched(urls, tmp_path / NAME)
    lines = str(caught.value).splitlines()[1:-1]
    assert [line.strip().partition(f"{NAME}: ")[0] + NAME for line in lines] == urls
    assert "Connection refused" in lines[0]
    assert "No scheme supplied" in lines[2]
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_not_downloaded_again(server: Server, tmp_path: Path) -> None:
    """The file is unchanged, and the server gets no request."""
    target = tmp_path / NAME
    target.write_bytes(ARCHIVE)
    fetched([server.url("wrong")], target)
    assert target.read_bytes() == ARCHIVE
    assert server.asked == []


def test_a_full_disk_is_not_reported_as_a_network_failure(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the disk failure, and no other URL is tried."""

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DownloadError, match="could not be written: No space left on device") as e:
        fetched([server.url("good"), server.url("plain")], tmp_path / "new" / NAME)
    assert str(e.value).endswith(ADVICE)
    assert server.asked == ["good"]
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_is_not_reported_as_a_network_failure() -> None:
    """A device that is always full fails at the first bytes."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    from mlpkit.data.sets import _download

    with Path("/dev/full").open("wb", buffering=0) as full:
        sink = _download._Sink(full, MAX_BYTES, 1.0)
        with pytest.raises(_download._DiskError):
            sink.write(b"x" * 100)


def test_a_folder_that_cannot_be_created(server: Server, tmp_path: Path) -> None:
    """A file exists at the path of a parent folder."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DownloadError, match=r"could not be written: (Not a directory|File exists)"):
        fetched([server.url("good")], tmp_path / "file" / "folder" / NAME)
    assert server.asked == []


FORKS = f"""
import os, sys
from pathlib import Path
import pooch, filelock
from mlpkit.data.sets._download import fetch
from mlpkit.data.sets._idx import Expected, read_expected

def check(path, name):
    read_expected(path, Expected(shape=(60, 28, 28), sha256={SHA256!r}), name=name)

for line in sys.stdin:
    number, url, target = line.split()
    children = []
    for _ in range(int(number)):
        child = os.fork()
        if child == 0:
            fetch([url], Path(target), check=check, max_bytes={MAX_BYTES}, advice="", timeout=20)
            os._exit(0)
        children.append(child)
    print(*children, flush=True)
    print(*[os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children], flush=True)
"""


class Forks:
    """Processes that fetch a file, forked from one process with all imports done."""

    def __init__(self, parent: subprocess.Popen[str]) -> None:
        assert parent.stdin is not None
        assert parent.stdout is not None
        self._orders = parent.stdin
        self._reports = parent.stdout

    def start(self, number: int, url: str, target: Path) -> list[int]:
        """Start several processes that fetch one file, and return their ids."""
        self._orders.write(f"{number} {url} {target}\n")
        self._orders.flush()
        return self._numbers()

    def wait(self) -> list[int]:
        """Wait for the processes and return their exit codes."""
        return self._numbers()

    def _numbers(self) -> list[int]:
        return [int(word) for word in self._reports.readline().split()]


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    """One parent process for all tests of this module."""
    with subprocess.Popen(
        [sys.executable, "-c", FORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        yield Forks(parent)
        assert parent.stdin is not None
        parent.stdin.close()
        assert parent.wait(60) == 0


def test_four_processes_download_once(forks: Forks, server: Server, tmp_path: Path) -> None:
    """One process downloads, three wait, and all succeed."""
    target = tmp_path / "folder" / NAME
    forks.start(4, server.url("leisurely"), target)
    assert forks.wait() == [0, 0, 0, 0]
    assert torch.equal(read_idx(target), PIXELS)
    assert [path.name for path in target.parent.iterdir()] == [NAME]
    assert server.asked == ["leisurely"]


def test_a_killed_download_can_be_repeated(forks: Forks, server: Server, tmp_path: Path) -> None:
    """SIGKILL leaves no target file; the next call downloads it and removes temporary files."""
    target = tmp_path / NAME
    (child,) = forks.start(1, server.url("stalling"), target)
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in tmp_path.glob(f".*{TEMPORARY_SUFFIX}")):
        assert time.monotonic() < deadline, "the download did not start"
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    assert forks.wait() == [-signal.SIGKILL]
    assert not target.exists()
    assert len(list(tmp_path.glob(f".*{TEMPORARY_SUFFIX}"))) == 1
    fetched([server.url("good")], target)
    assert torch.equal(read_idx(target), PIXELS)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_a_lock_that_is_held_for_too_long_is_ignored(server: Server, tmp_path: Path) -> None:
    """The file is downloaded without the lock."""
    target = tmp_path / NAME
    with filelock.FileLock(tmp_path / f".{NAME}.lock"):
        fetch(
            [server.url("good")],
            target,
            check=check,
            max_bytes=MAX_BYTES,
            advice=ADVICE,
            lock_timeout=0.2,
        )
    assert torch.equal(read_idx(target), PIXELS)


@pytest.mark.parametrize("error", [NotImplementedError("no flock"), OSError(37, "No locks")])
def test_a_file_system_without_locks(
    error: Exception, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some network file systems do not support locks."""

    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    fetched([server.url("good")], tmp_path / NAME)
    assert torch.equal(read_idx(tmp_path / NAME), PIXELS)


def test_errors_within_the_lock_are_raised(tmp_path: Path) -> None:
    """Only a failure to acquire the lock is suppressed."""
    with pytest.raises(DataError, match="inside"), locked(tmp_path / NAME, 1.0):
        raise DataError("inside")
    with pytest.raises(OSError, match="inside"), locked(tmp_path / NAME, 1.0):
        raise OSError("inside")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("on_terminal", [False, True])
def test_progress_is_shown_on_a_terminal_only(
    on_terminal: bool,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A redirected stderr gets no progress bar."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: on_terminal)
    fetched([server.url("leisurely")], tmp_path / NAME)
    assert (NAME in capsys.readouterr().err) is on_terminal
