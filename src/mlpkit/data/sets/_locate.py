"""Locations of data set files: the given folder, ``MLPKIT_DATA``, or the user's cache folder."""

from __future__ import annotations

import os
from pathlib import Path

from mlpkit._checks import error_message
from mlpkit.data.sets._catalog import DataFile, SetInfo

ROOT_VARIABLE = "MLPKIT_DATA"
OFFLINE_VARIABLE = "MLPKIT_OFFLINE"
_TRUE = ("1", "true", "yes", "on")
_FALSE = ("", "0", "false", "no", "off")


def data_root(root: str | os.PathLike[str] | None) -> Path:
    """Return ``root``, else the folder named by ``MLPKIT_DATA``, else the user's cache folder."""
    if root is not None:
        return Path(root).expanduser()
    named = os.environ.get(ROOT_VARIABLE)
    if named:
        return Path(named).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("mlpkit", appauthor=False)


def is_offline() -> bool:
    """Return whether ``MLPKIT_OFFLINE`` forbids downloads."""
    value = os.environ.get(OFFLINE_VARIABLE, "").strip().lower()
    if value not in _TRUE + _FALSE:
        raise ValueError(error_message(OFFLINE_VARIABLE, "0 or 1", value))
    return value in _TRUE


def raw_folder(root: Path, info: SetInfo) -> Path:
    """Return the folder of a set in torchvision's layout, to which downloads are written."""
    return root / info.folder / "raw"


def search_folders(root: Path, info: SetInfo) -> tuple[Path, ...]:
    """Return the folders that may hold the files of a set, in search order."""
    named = [root / name for name in dict.fromkeys((info.folder, info.folder.lower(), info.name))]
    unpacked = [folder / part for folder in named for part in ("raw", "")]
    return tuple(dict.fromkeys((raw_folder(root, info), root / "raw", root, *unpacked)))


def file_names(file: DataFile) -> tuple[str, ...]:
    """Return the names under which a file may be stored, in search order.

    Uncompressed names come first, because they are faster to read. Some mirrors write
    ``train-images.idx3-ubyte``.
    """
    plain = (file.name, file.name.replace("-idx", ".idx"))
    return (*plain, *(f"{name}.gz" for name in plain))


def existing_files(root: Path, info: SetInfo, file: DataFile) -> list[Path]:
    """Return all existing paths that may hold the file, in search order.

    A broken link counts as existing, so that it is reported instead of being downloaded again. A
    folder with the name of the file, into which some programs unpack it, is searched as well.
    """
    names = file_names(file)
    found: list[Path] = []
    for path in (folder / name for folder in search_folders(root, info) for name in names):
        inside = [path / name for name in names if (path / name).is_file()]
        found += inside or ([path] if os.path.lexists(path) else [])
    return found
