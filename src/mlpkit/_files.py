"""Atomic file writes: a path holds either the whole old file or the whole new file."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

TEMPORARY_SUFFIX = ".mlpkit-tmp"


def write_atomically(
    path: str | os.PathLike[str],
    write: Callable[[BinaryIO], object],
    *,
    check: Callable[[Path], object] | None = None,
) -> Path:
    """Write a file so that ``path`` never holds a partial file, and return the path.

    The bytes are written to a temporary file in the same folder and flushed to disk. The temporary
    file then replaces the target atomically, and the folder is flushed, so that the replacement
    survives a power failure.

    Args:
        path: Path of the file; a symbolic link is followed, not replaced.
        write: Called once with the open temporary file.
        check: Called with the path of the complete temporary file; if it raises, the target is not
            replaced. None for no check.

    Raises:
        OSError: If the file cannot be written; then the old file is unchanged and the temporary
            file is deleted.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(
        f".{target.name}.{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}"
        f"{TEMPORARY_SUFFIX}"
    )
    # os.open with 0o666 respects the umask; tempfile creates files that other users cannot read.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if check is not None:
            check(temporary)
        temporary.replace(target)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        if isinstance(error, OSError) and error.errno and not error.filename:
            error.filename = str(path)  # the error of a full disk does not name the file
        raise
    _flush_folder(target.parent)
    return Path(path)


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
