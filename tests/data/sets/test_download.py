"""Fetching against a real HTTP server on this machine that does everything wrong, and right."""

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
    """Answers by the first part of the path, each kind of trouble under a name of its own."""

    @property
    def site(self) -> Server:
        assert isinstance(self.server, Server)
        return self.server

    def do_GET(self) -> None:
        kind = self.path.split("/")[1]
        self.site.asked.append(kind)
        ANSWERS[kind](self)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

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
    """A server on the loopback that remembers what it was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.release = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is part of the game."""

    def url(self, kind: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{kind}/{NAME}"


def silent(handler: Handler) -> None:
    """Accept the request and never answer."""
    handler.site.release.wait(20)


def stalling(handler: Handler) -> None:
    """Deliver a half, then nothing, and keep the connection."""
    handler.answer(ARCHIVE[: len(ARCHIVE) // 2], length=len(ARCHIVE))
    handler.wfile.flush()
    handler.site.release.wait(20)


def trickling(handler: Handler) -> None:
    """Deliver a little at a time, so that no single wait is long."""
    handler.answer(b"", length=len(ARCHIVE))
    for start in range(0, len(ARCHIVE), 20):
        handler.wfile.write(ARCHIVE[start : start + 20])
        if handler.site.release.wait(0.05):
            return


def leisurely(handler: Handler) -> None:
    """Deliver everything, in a second."""
    handler.answer(b"", length=len(ARCHIVE))
    step = len(ARCHIVE) // 10
    for start in range(0, len(ARCHIVE), step):
        handler.wfile.write(ARCHIVE[start : start + step])
        time.sleep(0.1)


def cutting(handler: Handler) -> None:
    """Reset the connection in the middle."""
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
    """Deliver the bytes as published only to those who ask for no other form of them."""
    asked_for_gzip = "gzip" in handler.headers.get("Accept-Encoding", "")
    handler.answer(PAGE if asked_for_gzip else ARCHIVE)


def endless(handler: Handler) -> None:
    """Never stop delivering, and never say how much it will be."""
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
# What fails -> the reason that the message gives.
FAIL = {
    "silent": "timed out",
    "stalling": "timed out",
    "trickling": "bytes came in",
    "cutting": "Connection reset by peer|IncompleteRead|Connection broken",
    "endless": f"more than the {MAX_BYTES} bytes that it can have",
    "half": "what came must be a whole IDX file, plain or gzipped, got damaged gzip data",
    "too-short": "IncompleteRead",
    "empty": "what came must be an IDX file .*, got an empty file",
    "page": "what came must be an IDX file, .*a web page",
    "wrong": f"what came must be the published file, whose unpacked bytes have SHA-256 {SHA256}",
    "other-shape": r"what came must be of shape \(60, 28, 28\), got shape \(50, 28, 28\)",
    "404": "404 Client Error: Not Found",
    "503": "503 Server Error: Service Unavailable",
}


@pytest.fixture
def server() -> Iterator[Server]:
    """A server for one test."""
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running
        running.release.set()
        running.shutdown()
        thread.join()


def check(path: Path, name: str) -> None:
    """Accept what unpacks to the content."""
    read_expected(path, Expected(shape=(60, 28, 28), sha256=SHA256), name=name)


def fetched(urls: list[str], target: Path) -> None:
    """Fetch, impatient only where an answer is meant to take too long."""
    slow = any(kind in urls[0] for kind in ("silent", "stalling", "trickling"))
    timeout = 2.0 if slow else 30.0
    fetch(urls, target, check=check, max_bytes=MAX_BYTES, advice=ADVICE, timeout=timeout)


def test_every_answer_is_expected_to_deliver_or_to_fail() -> None:
    """No kind of answer is left out of the tests below."""
    assert {*DELIVER, *FAIL} == set(ANSWERS)


@pytest.mark.parametrize("kind", DELIVER)
def test_the_file_is_fetched(kind: str, server: Server, tmp_path: Path) -> None:
    """Whatever way the same content comes, and nothing but the file is left behind."""
    target = tmp_path / "deep" / "folder" / NAME
    fetched([server.url(kind)], target)
    assert torch.equal(read_idx(target), PIXELS)
    assert [path.name for path in target.parent.iterdir()] == [NAME]


@pytest.mark.parametrize(("kind", "reason"), FAIL.items(), ids=FAIL)
def test_the_next_address_is_tried_whatever_is_wrong(
    kind: str, reason: str, server: Server, tmp_path: Path
) -> None:
    """A good address after a bad one delivers."""
    target = tmp_path / NAME
    fetched([server.url(kind), server.url("good")], target)
    assert torch.equal(read_idx(target), PIXELS)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert server.asked == [kind, "good"]


@pytest.mark.parametrize(("kind", "reason"), FAIL.items(), ids=FAIL)
def test_when_all_fail_each_address_has_its_reason(
    kind: str, reason: str, server: Server, tmp_path: Path
) -> None:
    """The message lists each address with what was wrong, then the advice; nothing is left."""
    urls = [server.url(kind), server.url("404")]
    with pytest.raises(DownloadError, match="could not be downloaded") as caught:
        fetched(urls, tmp_path / "new" / "folder" / NAME)
    first, second, third, last = str(caught.value).splitlines()
    assert first == f"{NAME} could not be downloaded:"
    assert re.fullmatch(rf"  {re.escape(urls[0])}: .*({reason}).*", second), second
    assert third == f"  {urls[1]}: 404 Client Error: Not Found"
    assert last == ADVICE
    assert list(tmp_path.iterdir()) == []


def test_addresses_that_nobody_answers(tmp_path: Path) -> None:
    """A closed port, a name that does not exist, and no address at all."""
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


def test_an_old_good_file_is_never_touched(server: Server, tmp_path: Path) -> None:
    """What is there is not asked for again."""
    target = tmp_path / NAME
    target.write_bytes(ARCHIVE)
    fetched([server.url("wrong")], target)
    assert target.read_bytes() == ARCHIVE
    assert server.asked == []


def test_a_full_disk_is_not_the_fault_of_an_address(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the disk, and no other address is bothered."""

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DownloadError, match="could not be written: No space left on device") as e:
        fetched([server.url("good"), server.url("plain")], tmp_path / "new" / NAME)
    assert str(e.value).endswith(ADVICE)
    assert server.asked == ["good"]
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_is_not_the_fault_of_an_address(server: Server, tmp_path: Path) -> None:
    """As above, where the first bytes do not fit: a device that is always full."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    from mlpkit.data.sets import _download

    with Path("/dev/full").open("wb", buffering=0) as full:
        sink = _download._Sink(full, MAX_BYTES, 1.0)
        with pytest.raises(_download._UnwritableError):
            sink.write(b"x" * 100)


def test_a_folder_that_cannot_be_made(server: Server, tmp_path: Path) -> None:
    """A file stands in the way."""
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
    """Processes that fetch, forked from one that has imported everything."""

    def __init__(self, parent: subprocess.Popen[str]) -> None:
        assert parent.stdin is not None
        assert parent.stdout is not None
        self._orders = parent.stdin
        self._reports = parent.stdout

    def start(self, number: int, url: str, target: Path) -> list[int]:
        """Let several processes fetch one file, and return their ids."""
        self._orders.write(f"{number} {url} {target}\n")
        self._orders.flush()
        return self._numbers()

    def wait(self) -> list[int]:
        """Return their exit codes."""
        return self._numbers()

    def _numbers(self) -> list[int]:
        return [int(word) for word in self._reports.readline().split()]


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    """One importing process for all tests here."""
    with subprocess.Popen(
        [sys.executable, "-c", FORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        yield Forks(parent)
        assert parent.stdin is not None
        parent.stdin.close()
        assert parent.wait(60) == 0


def test_four_processes_download_once(forks: Forks, server: Server, tmp_path: Path) -> None:
    """One fetches, three wait; all end well."""
    target = tmp_path / "folder" / NAME
    forks.start(4, server.url("leisurely"), target)
    assert forks.wait() == [0, 0, 0, 0]
    assert torch.equal(read_idx(target), PIXELS)
    assert [path.name for path in target.parent.iterdir()] == [NAME]
    assert server.asked == ["leisurely"]


def test_killed_in_the_middle_then_again(forks: Forks, server: Server, tmp_path: Path) -> None:
    """Kill -9 leaves no file under the name, and the next call fetches and sweeps."""
    target = tmp_path / NAME
    (child,) = forks.start(1, server.url("stalling"), target)
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in tmp_path.glob(f".*{TEMPORARY_SUFFIX}")):
        assert time.monotonic() < deadline, "the download did not begin"
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    assert forks.wait() == [-signal.SIGKILL]
    assert not target.exists()
    assert len(list(tmp_path.glob(f".*{TEMPORARY_SUFFIX}"))) == 1
    fetched([server.url("good")], target)
    assert torch.equal(read_idx(target), PIXELS)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_a_lock_that_is_held_for_too_long_is_passed_over(server: Server, tmp_path: Path) -> None:
    """Correctness does not hang on the lock."""
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
    """Some network file systems know none."""

    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    fetched([server.url("good")], tmp_path / NAME)
    assert torch.equal(read_idx(tmp_path / NAME), PIXELS)


def test_what_fails_under_the_lock_is_not_swallowed(tmp_path: Path) -> None:
    """Only taking the lock may fail in silence."""
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
    """A log file stays clean."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: on_terminal)
    fetched([server.url("leisurely")], tmp_path / NAME)
    assert (NAME in capsys.readouterr().err) is on_terminal
