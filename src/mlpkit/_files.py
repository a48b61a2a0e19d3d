"""Whole files only: whatever kills the process, a path holds the old file or the new one."""

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
    """Write a file so that ``path`` never holds a part of it, and return the path.

    The bytes go to a temporary file in the same folder, are flushed to the disk, replace the
    target in one step, and the folder is flushed too, so that the rename survives a power loss.

    Args:
        path: Where the file shall be; a symbolic link is followed, not replaced.
        write: Called once with the open temporary file.
        check: Called with the path of the temporary file once it is whole; where it raises,
            nothing is replaced. None: no check.

    Raises:
        OSError: If the file cannot be written; the old file is untouched, no temporary stays.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(
        f".{target.name}.{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}"
        f"{TEMPORARY_SUFFIX}"
    )
    # os.open with 0o666 honours the umask; tempfile would leave a file that others cannot read.
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
            error.filename = str(path)  # a full disk is reported without a word about the file
        raise
    _flush_folder(target.parent)
    return Path(path)


def sweep_temporary(folder: Path) -> list[Path]:
    """Delete what killed writers of this machine left in ``folder``, and return what it was."""
    swept = []
    for path in sorted(folder.glob(f".*{TEMPORARY_SUFFIX}")):
        # .<name>.<host>.<pid>.<token>.mlpkit-tmp, where name and host may hold dots themselves
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
    except PermissionError:  # alive, but somebody else's
        return True
    return True


def _flush_folder(folder: Path) -> None:
    if os.name == "nt":  # a folder cannot be opened there; NTFS journals the rename
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
