"""Atomic writes: the whole old or the whole new file, and no temporary files."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pytest

from mlpkit._files import (
    TEMPORARY_SUFFIX,
    make_folder,
    open_regular,
    printable,
    sweep_temporary,
    write_atomically,
)


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


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o755])
def test_an_existing_file_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    """A private file stays private, also while the new content is written."""
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    path.chmod(mode)
    during: list[int] = []

    def write(file: BinaryIO) -> None:
        file.write(b"new")
        during.extend(stat.S_IMODE(other.stat().st_mode) for other in tmp_path.iterdir())

    write_atomically(path, write)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert set(during) == {mode}


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    """The pipe stays a pipe, and its reader gets the complete content."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    content = bytes(range(256)) * 4096  # more than a pipe holds
    checked = []
    with ThreadPoolExecutor() as pool:
        read = pool.submit(path.read_bytes)
        written = write_atomically(
            path,
            partial(_write, content, chunks=7),
            check=lambda file: checked.append(file.read_bytes() == content),
        )
        assert read.result(timeout=60) == content
    assert written == path
    assert checked == [True]
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_check_writes_nothing_to_a_device(tmp_path: Path) -> None:
    """The content is complete and checked before the first byte is written."""

    def refuse(_: Path) -> None:
        raise ValueError("not what was wanted")

    link = tmp_path / "full"
    link.symlink_to("/dev/full")  # every write fails
    with pytest.raises(ValueError, match="not what was wanted"):
        write_atomically(link, partial(_write, b"new"), check=refuse)
    with pytest.raises(OSError, match=r"No space left on device: .*full"):
        write_atomically(link, partial(_write, b"new"))
    assert link.is_symlink()


def test_a_device_is_written_to(tmp_path: Path) -> None:
    """A link to the null device stays one, and the device stays a device."""
    link = tmp_path / "null"
    link.symlink_to(os.devnull)
    assert write_atomically(link, partial(_write, b"new")) == link
    assert link.is_symlink()
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


@pytest.mark.parametrize("to", ["pipe", "file", "deleted file"])
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_standard_output_is_written_to(tmp_path: Path, to: str, name: str) -> None:
    """What was printed before comes before, and what is printed after comes after."""
    if name == "link":
        name = str(tmp_path / "link")
        Path(name).symlink_to("/dev/stdout")
    program = (
        "from mlpkit._files import write_atomically\n"
        "print('before')\n"
        f"write_atomically({name!r}, lambda file: file.write(b'content, '))\n"
        "print('after')\n"
    )
    command = [sys.executable, "-c", program]
    if to == "pipe":
        got = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    else:
        path = tmp_path / "out"
        with path.open("w+b") as file:
            file.write(b"first\n")
            file.flush()
            if to == "deleted file":
                path.unlink()
            subprocess.run(command, stdout=file, check=True)
            file.seek(0)
            got = file.read().removeprefix(b"first\n")
    assert got.decode() == "before\ncontent, after\n"
    assert not list(tmp_path.glob("*deleted*"))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """The error names the folder, and nothing is left in its parent."""
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(IsADirectoryError, match="folder'"):
        write_atomically(folder, partial(_write, b"new"))
    assert list(tmp_path.iterdir()) == [folder]


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    """A pipe without a writer would wait, and a device may have no end."""
    os.mkfifo(tmp_path / "pipe")
    for path, found in (
        (tmp_path / "pipe", "a pipe"),
        (Path("/dev/zero"), "a device"),
        (tmp_path, "a folder"),
    ):
        with pytest.raises(OSError, match=f"not a regular file but {found}"):
            open_regular(path)
    (tmp_path / "file").write_bytes(b"content")
    with open_regular(tmp_path / "file") as file:
        assert file.read() == b"content"


def test_a_path_with_a_null_byte_is_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    """Python raises ValueError, which no caller expects of a file."""
    path = tmp_path / "a\0b"
    for use in (open_regular, make_folder, partial(write_atomically, write=partial(_write, b"n"))):
        with pytest.raises(OSError, match="embedded null") as caught:
            use(path)
        assert caught.value.filename == str(path)


def test_every_path_is_printable() -> None:
    """A path may hold bytes that are no UTF-8."""
    assert (
        printable(os.fsdecode(b"runs/\xff\xc3\xa9"))
        == "runs/\\xff\N{LATIN SMALL LETTER E WITH ACUTE}"
    )


@pytest.mark.parametrize("character", ["a", "é", "字", "😀"])
def test_names_up_to_the_limit_of_the_file_system_are_written(
    tmp_path: Path, character: str
) -> None:
    """The temporary file has a shorter name, which ends between two characters."""
    seen: list[Path] = []
    for length in (100, 180, 200, 220, 240, 250, 255):
        name = character * (length // len(character.encode()))
        path = tmp_path / name
        write_atomically(path, lambda file: file.write(b"new"), check=seen.append)
        assert path.read_bytes() == b"new"
        assert seen[-1].name.startswith(f".{character}")
        assert len(seen[-1].name.encode()) <= 255
        assert f".{os.getpid()}." in seen[-1].name


def test_a_temporary_file_with_a_shortened_name_is_swept(tmp_path: Path) -> None:
    """Its end, which names machine and process, is complete."""
    seen: list[Path] = []
    write_atomically(tmp_path / ("a" * 255), lambda file: file.write(b"new"), check=seen.append)
    gone = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True, check=True)
    pid, gone_pid = f".{os.getpid()}.", f".{gone.stdout.strip()}."
    name = seen[0].name.replace(pid, gone_pid)
    left = tmp_path / name.replace("aaaaa", "", 1)  # the other number may have more digits
    left.touch()
    assert sweep_temporary(tmp_path) == [left]
