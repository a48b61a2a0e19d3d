"""Atomic file writes: a path holds either the whole old file or the whole new file.

Pipes and devices, such as ``/dev/stdout``, are written to directly.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

TEMPORARY_SUFFIX = ".mlpkit-tmp"
_MAX_NAME_BYTES = 255  # the limit of common file systems
_NONBLOCK: int = getattr(os, "O_NONBLOCK", 0)  # opening a FIFO must not wait for a writer
_BINARY: int = getattr(os, "O_BINARY", 0)  # Windows only


def write_atomically(
    path: str | os.PathLike[str],
    write: Callable[[BinaryIO], object],
    *,
    check: Callable[[Path], object] | None = None,
) -> Path:
    """Write a file so that ``path`` never holds a partial file, and return the path.

    The bytes are written to a temporary file in the same folder and flushed to disk. The temporary
    file then replaces the target atomically, and the folder is flushed, so that the replacement
    survives a power failure. The new file has the permissions of the file that it replaces, or
    those of the umask. A target that is no regular file, such as a pipe, a device or
    ``/dev/stdout``, is not replaced: the complete content is written to it.

    Args:
        path: Path of the file; a symbolic link is followed, not replaced.
        write: Called once with an open temporary file.
        check: Called with the path of the complete temporary file; if it raises, the target is not
            replaced. None for no check.

    Raises:
        OSError: If the file cannot be written; then the old file is unchanged and the temporary
            file is deleted.
    """
    old = _status(path)
    descriptor = open_descriptor(path)
    if descriptor is not None or not (old is None or stat.S_ISREG(old.st_mode)):
        _write_through(path if descriptor is None else descriptor, write, check, name=str(path))
        return Path(path)
    target = Path(os.path.realpath(path))
    temporary = target.with_name(_temporary_name(target.name))
    # os.open with 0o666 respects the umask; tempfile creates files that other users cannot read.
    mode = 0o666 if old is None else 0o600  # until it has the permissions of the old file
    with _naming(str(path)):
        opened = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, mode)
        try:
            with open(opened, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
                if old is not None:
                    _copy_permissions(old, temporary)
                write(file)
                file.flush()
                os.fsync(file.fileno())
            if check is not None:
                check(temporary)
            temporary.replace(target)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
            raise
    _flush_folder(target.parent)
    return Path(path)


def _temporary_name(name: str) -> str:
    """Return a new name that :func:`sweep_temporary` recognizes, of at most 255 bytes."""
    end = f".{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
    while len(os.fsencode(f".{name}{end}")) > _MAX_NAME_BYTES:
        name = name[:-1]  # a character, so that the rest stays valid UTF-8
    return f".{name}{end}"


def open_descriptor(path: str | os.PathLike[str]) -> int | None:
    """Return the open file descriptor that a path such as ``/dev/stdout`` names, else None."""
    link = Path(path)
    for _ in range(40):  # the limit of Linux on links that lead to links
        folder = os.path.realpath(link.parent)
        if folder in (f"/proc/{os.getpid()}/fd", "/dev/fd") and link.name.isdigit():
            return int(link.name)
        link = Path(folder, link.name)
        if not link.is_symlink():
            return None
        link = link.parent / link.readlink()
    return None


def printable(path: str | os.PathLike[str]) -> str:
    """Return a path as text that UTF-8 can encode, with escape sequences for other bytes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file for reading.

    Raises:
        OSError: If it cannot be read, or is a folder, pipe, device or socket, which are not opened.
    """
    # Checked twice: opening a device may have an effect, and the path may change in between.
    check_regular(path)
    descriptor = os.open(path, os.O_RDONLY | _NONBLOCK | _BINARY)
    try:
        check_regular(path, os.fstat(descriptor))
    except OSError:
        os.close(descriptor)
        raise
    return open(descriptor, "rb")  # noqa: PTH123 - a descriptor; the caller closes it


def check_regular(path: str | os.PathLike[str], status: os.stat_result | None = None) -> None:
    """Raise OSError unless a path, or an open file with a status, is a regular file."""
    if status is None:
        with _path_errors(path):
            status = Path(path).stat()
    if not stat.S_ISREG(status.st_mode):
        found = file_type(status.st_mode)
        raise OSError(errno.EINVAL, f"not a regular file but {found}", str(path))


def file_type(mode: int) -> str:
    """Return the name of the type of a file that is not regular, with its article."""
    types = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    return next((name for is_type, name in types if is_type(mode)), "a device")


def make_folder(folder: Path) -> None:
    """Create a folder with its parents, if it does not exist.

    Raises:
        OSError: If it cannot be created.
    """
    with _path_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def _path_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raise OSError, not ValueError, for a path that no file can have: one with a null byte."""
    try:
        yield
    except ValueError as error:
        raise OSError(errno.EINVAL, str(error), str(path)) from error


def _status(path: str | os.PathLike[str]) -> os.stat_result | None:
    """Return the status of a file, following links; None if there is none."""
    with _path_errors(path), contextlib.suppress(FileNotFoundError):
        return Path(path).stat()
    return None


def _copy_permissions(old: os.stat_result, temporary: Path) -> None:
    """Give a new file the owner, where this user may, and the permissions of an old one."""
    new = temporary.stat()
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        with contextlib.suppress(OSError):
            os.chown(temporary, old.st_uid, old.st_gid)
    with contextlib.suppress(OSError):  # a file system may have no permissions
        temporary.chmod(stat.S_IMODE(old.st_mode) & 0o777)


def _write_through(
    target: str | os.PathLike[str] | int,
    write: Callable[[BinaryIO], object],
    check: Callable[[Path], object] | None,
    *,
    name: str,
) -> None:
    """Write to an existing pipe, device or open descriptor, once the content is complete."""
    with tempfile.TemporaryDirectory() as folder, _naming(name):
        temporary = Path(folder) / f"content{TEMPORARY_SUFFIX}"
        with temporary.open("wb") as file:
            write(file)
        if check is not None:
            check(temporary)
        if isinstance(target, int):
            for stream in (sys.stdout, sys.stderr):  # what was printed before comes before
                if stream is not None:
                    stream.flush()
            target = os.dup(target)
        with temporary.open("rb") as content, open(target, "wb") as out:  # noqa: PTH123
            shutil.copyfileobj(content, out)


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
    """Name the file in an OSError without a name, or with that of the temporary file."""
    try:
        yield
    except OSError as error:
        is_temporary = str(error.filename).endswith(TEMPORARY_SUFFIX)
        if error.errno and (not error.filename or is_temporary):
            error.filename = name
        raise


def sweep_temporary(folder: Path) -> list[Path]:
    """Delete temporary files of killed processes of this machine, and return their paths."""
    swept = []
    for path in sorted(folder.glob(f".*{TEMPORARY_SUFFIX}")):
        # .<name>.<host>.<pid>.<token>.mlpkit-tmp; name and host may contain dots
        *_, pid, _token = path.name.removesuffix(TEMPORARY_SUFFIX).split(".")
        written_here = f".{socket.gethostname()}.{pid}." in path.name
        if written_here and pid.isdigit() and not _is_alive(int(pid)):
            path.unlink(missing_ok=True)
            swept.append(path)
    return swept


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is a process of another user
        return True
    return True


def _flush_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder; NTFS journals the rename
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
