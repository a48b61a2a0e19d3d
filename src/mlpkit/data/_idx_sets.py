"""A data set from its IDX files: found, fetched where missing, checked against the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mlpkit.data._catalog import CATALOG, DataFile, SetInfo
from mlpkit.data._idx import DigestError, Expected, read_expected
from mlpkit.data._locate import candidates
from mlpkit.errors import DataError


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """How the files of a set may be had.

    Attributes:
        root: The folder that holds them, or that they go to.
        download: Whether missing files are fetched.
        verify: Whether digests and numbers of examples must be the published ones.
        mirrors: Addresses to fetch from in place of the catalogue's; None: the catalogue's.
    """

    root: Path
    download: bool = True
    verify: bool = True
    mirrors: tuple[str, ...] | None = None


def read_train(info: SetInfo, access: Access) -> tuple[Tensor, Tensor]:
    """Return the training images, uint8, and labels, int64."""
    return _read_pair(info, info.files[0], info.files[1], access)


def read_test(info: SetInfo, access: Access) -> tuple[Tensor, Tensor]:
    """Return the test images, uint8, and labels, int64."""
    return _read_pair(info, info.files[2], info.files[3], access)


def _read_pair(
    info: SetInfo, images_file: DataFile, labels_file: DataFile, access: Access
) -> tuple[Tensor, Tensor]:
    """Read the labels first: they are small, and half of what can be wrong is wrong there."""
    labels, labels_path = _read_file(info, labels_file, access)
    check_labels(labels, len(info.classes), str(labels_path))
    images, images_path = _read_file(info, images_file, access)
    if len(images) != len(labels):
        raise DataError(
            f"{labels_path} must hold one label for each of the {len(images)} images in "
            f"{images_path}, got {len(labels)} labels; take both files from one source"
        )
    return images, labels.long()


def check_labels(labels: Tensor, num_classes: int, name: str) -> None:
    """Refuse a label that names no class."""
    lowest, highest = (int(bound) for bound in torch.aminmax(labels))
    if lowest < 0 or highest >= num_classes:
        wrong = lowest if lowest < 0 else highest
        where = int((labels == wrong).nonzero()[0])
        raise DataError(
            f"{name} must hold labels from 0 to {num_classes - 1}, got {wrong} at position "
            f"{where}; the file is damaged or belongs to another data set"
        )


def _read_file(info: SetInfo, file: DataFile, access: Access) -> tuple[Tensor, Path]:
    """Read the first good one of the files that may be it; fetch it where there is none."""
    damaged: DataError | None = None
    for path in candidates(access.root, info, file):
        try:
            return read_expected(path, _expected(file, verify=access.verify)), path
        except DigestError as error:
            if not _is_of_another_set(error.sha256, info):
                damaged = damaged or error
        except DataError as error:
            damaged = damaged or error
    if damaged is not None:
        raise damaged
    path = _fetched(info, file, access)
    return read_expected(path, _expected(file, verify=access.verify)), path


def _expected(file: DataFile, *, verify: bool) -> Expected:
    """Return what a file must be; without verification the number of examples is free."""
    if verify:
        return Expected(
            shape=file.shape,
            dtype=torch.uint8,
            sha256=file.sha256,
            archive_sha256=file.archive_sha256,
        )
    return Expected(shape=(None, *file.shape[1:]), dtype=torch.uint8)


def _is_of_another_set(sha256: str, info: SetInfo) -> bool:
    """Say whether a file belongs to a set whose files have the same names."""
    return any(
        file.sha256 == sha256 for other in CATALOG.values() for file in other.files if other != info
    )


def _fetched(info: SetInfo, file: DataFile, access: Access) -> Path:
    raise DataError(_missing(info, file, access.root))


def _missing(info: SetInfo, file: DataFile, root: Path) -> str:
    return f"{root} must hold {file.name}"
