"""Where the files of a data set may lie: the folder given, MLPKIT_DATA, the cache."""

from __future__ import annotations

import os
from pathlib import Path

from mlpkit._checks import error_message
from mlpkit.data.sets._catalog import DataFile, SetInfo

ROOT_VARIABLE = "MLPKIT_DATA"
OFFLINE_VARIABLE = "MLPKIT_OFFLINE"
_YES = ("1", "true", "yes", "on")
_NO = ("", "0", "false", "no", "off")


def data_root(root: str | os.PathLike[str] | None) -> Path:
    """Return the folder given, or the one that MLPKIT_DATA names, or the cache of this user."""
    if root is not None:
        return Path(root).expanduser()
    named = os.environ.get(ROOT_VARIABLE)
    if named:
        return Path(named).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("mlpkit", appauthor=False)


def is_offline() -> bool:
    """Say whether MLPKIT_OFFLINE forbids downloads."""
    value = os.environ.get(OFFLINE_VARIABLE, "").strip().lower()
    if value not in _YES + _NO:
        raise ValueError(error_message(OFFLINE_VARIABLE, "0 or 1", value))
    return value in _YES


def own_folder(root: Path, info: SetInfo) -> Path:
    """Return the set's folder in torchvision's layout, which downloads go to."""
    return root / info.folder / "raw"


def folders(root: Path, info: SetInfo) -> tuple[Path, ...]:
    """Return the folders that files may lie in, the set's own first."""
    return own_folder(root, info), root / "raw", root


def names(file: DataFile) -> tuple[str, ...]:
    """Return the names that a file goes by, the quickest to read first.

    Some mirrors write ``train-images.idx3-ubyte``.
    """
    dotted = file.name.replace("-idx", ".idx")
    plain_last = file.archive_sha256 is not None  # only the archive has a published digest
    names = (file.name, dotted)
    packed = tuple(f"{name}.gz" for name in names)
    return packed + names if plain_last else names + packed


def candidates(root: Path, info: SetInfo, file: DataFile) -> list[Path]:
    """Return every path that exists and may be the file, in the order to try them."""
    paths = [folder / name for folder in folders(root, info) for name in names(file)]
    return [path for path in paths if os.path.lexists(path)]  # a broken link is there, and wrong
