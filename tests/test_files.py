"""Atomic writes: the whole old or the whole new file, and no temporary files."""

from __future__ import annotations

import os
import signal
import socket
import stat
import time
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pytest

from mlpkit._files import TEMPORARY_SUFFIX, sweep_temporary, write_atomically


def _write(content: bytes, file: BinaryIO, chunks: int = 1) -> None:
    """Write the content in several chunks, so that a kill can happen between them."""
    length = len(content) // chunks
    for start in range(0, len(content), length):
        file.write(content[start : start + length])


def test_writes_and_replaces(tmp_path: Path) -> None:
    """A second write replaces the first, and no temporary file is left."""
    path = tmp_path / "file.bin"
    for content in (b"first", b"second"):
        assert write_atomically(path, partial(_write, content)) == path
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_writer_leaves_the_old_file(tmp_path: Path) -> None:
    """If the writer raises, the old content is kept and the temporary file is deleted."""
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")

    def fail(file: BinaryIO) -> None:
        file.write(b"half of the new")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_check_leaves_the_old_file(tmp_path: Path) -> None:
    """The check gets the complete new file; if it raises, the old file is kept."""
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    seen = []

    def refuse(temporary: Path) -> None:
        seen.append(temporary.read_bytes())
        raise ValueError("not what was wanted")

    with pytest.raises(ValueError, match="not what was wanted"):
        write_atomically(path, partial(_write, b"new"), check=refuse)
    assert seen == [b"new"]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    """The link stays a link, and its target gets the content."""
    target = tmp_path / "target"
    link = tmp_path / "link"
    link.symlink_to(target)
    write_atomically(link, lambda file: file.write(b"x"))
    assert link.is_symlink()
    assert target.read_bytes() == b"x"


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    """The file has the same permissions as one that `open` creates."""
    expected = tmp_path / "expected"
    expected.write_bytes(b"")
    path = write_atomically(tmp_path / "atomic", lambda file: file.write(b""))
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(expected.stat().st_mode)


def test_a_kill_never_leaves_a_partial_file(tmp_path: Path) -> None:
    """40 writers are killed after increasing delays; the path always holds one whole version."""
    path = tmp_path / "file.bin"
    size = 2_000_000
    write_atomically(path, lambda file: file.write(bytes([0]) * size))
    for kill in range(40):
        pid = os.fork()
        if pid == 0:  # pragma: no cover - the child is killed
            value = 0
            while True:
                value = (value + 1) % 256
                write_atomically(path, partial(_write, bytes([value]) * size, chunks=20))
        time.sleep(0.002 + 0.001 * kill)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        content = path.read_bytes()
        assert len(content) == size
        assert len(set(content)) == 1, "a mixture of two versions"
    sweep_temporary(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_only_temporary_files_of_dead_processes_are_deleted(tmp_path: Path) -> None:
    """Those of running processes and of other machines are kept."""
    host = socket.gethostname()
    pid = os.fork()
    if pid == 0:  # pragma: no cover - the pid of a process that has ended
        os._exit(0)
    os.waitpid(pid, 0)
    dead = tmp_path / f".model.pt.{host}.{pid}.abcd{TEMPORARY_SUFFIX}"
    alive = tmp_path / f".model.pt.{host}.{os.getpid()}.abcd{TEMPORARY_SUFFIX}"
    foreign = tmp_path / f".model.pt.elsewhere-{host}.{pid}.abcd{TEMPORARY_SUFFIX}"
    other = tmp_path / ".hidden"
    odd = tmp_path / f".x{TEMPORARY_SUFFIX}"
    for path in (dead, alive, foreign, other, odd):
        path.write_bytes(b"")
    assert sweep_temporary(tmp_path) == [dead]
    assert sorted(tmp_path.iterdir()) == sorted([alive, foreign, other, odd])
