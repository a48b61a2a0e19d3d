"""Reading of a data set from its IDX files, which are located, downloaded and verified."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mlpkit.data.sets._catalog import CATALOG, DataFile, SetInfo
from mlpkit.data.sets._download import fetch
from mlpkit.data.sets._idx import Expected, OtherSetError, read_expected
from mlpkit.data.sets._locate import (
    OFFLINE_VARIABLE,
    ROOT_VARIABLE,
    existing_files,
    is_offline,
    raw_folder,
)
from mlpkit.data.sets._torchvision import download_with_torchvision
from mlpkit.errors import DataError, DownloadError


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """Options for locating, downloading and verifying the files of a data set.

    Attributes:
        root: Folder that holds the files and to which missing ones are downloaded.
        download: Whether to download missing files.
        verify: Whether digests and numbers of examples must be the published ones.
        mirrors: Base URLs to download from; None uses those of the catalog.
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
    """Return images and labels; the small label file is read first, so errors appear early."""
    stored, labels_path = _read_file(info, labels_file, access)
    labels = _class_indices(stored, info, labels_path)
    images, images_path = _read_file(info, images_file, access)
    if len(images) != len(labels):
        raise DataError(
            f"{labels_path} must hold one label for each of the {len(images)} images in "
            f"{images_path}, got {len(labels)} labels; take both files from the same source"
        )
    if info.transposed:
        images = images.transpose(1, 2).contiguous()
    return images, labels


def _class_indices(stored: Tensor, info: SetInfo, path: Path) -> Tensor:
    """Return the labels as int64 class indices, shape (N,), after a check of their range."""
    labels = stored if stored.ndim == 1 else stored[:, 0]  # QMNIST: the others describe the writer
    first, last = info.first_label, info.first_label + len(info.classes) - 1
    lowest, highest = (int(bound) for bound in torch.aminmax(labels))
    if lowest < first or highest > last:
        wrong = lowest if lowest < first else highest
        position = int((labels == wrong).nonzero()[0])
        raise DataError(
            f"{path} must hold labels from {first} to {last}, got {wrong} at position {position}; "
            "the file is damaged or belongs to another data set"
        )
    return labels.long() - first


def _read_file(info: SetInfo, file: DataFile, access: Access) -> tuple[Tensor, Path]:
    """Read the first valid candidate of a file; download the file if there is no candidate.

    A damaged candidate is skipped if another one is valid, and is never overwritten.
    """
    expected = _expected(info, file, verify=access.verify)
    first_error: DataError | None = None
    for path in existing_files(access.root, info, file):
        try:
            return read_expected(path, expected), path
        except OtherSetError:  # MNIST and its successors use the same file names
            continue
        except DataError as error:
            first_error = first_error or error
    if first_error is not None:
        raise first_error
    _fetch_file(info, file, access)
    for path in existing_files(access.root, info, file):
        return read_expected(path, expected), path
    raise DataError(_missing_message(info, file, access.root))


def _expected(info: SetInfo, file: DataFile, *, verify: bool) -> Expected:
    """Return the expected properties; without verification any number of examples is accepted."""
    if not verify:
        return Expected(shape=(None, *file.shape[1:]), dtype=file.dtype)
    return Expected(
        shape=file.shape,
        dtype=file.dtype,
        sha256=file.sha256,
        other_sets=_digests_of_other_sets(info),
    )


def _digests_of_other_sets(info: SetInfo) -> frozenset[str]:
    """Return every published digest of a file of another data set."""
    return frozenset(
        file.sha256
        for other in CATALOG.values()
        if other.name != info.name
        for file in other.files
        if file.sha256 is not None
    )


def _fetch_file(info: SetInfo, file: DataFile, access: Access) -> None:
    """Download a missing file to its folder in torchvision's layout, if downloads are allowed."""
    missing = _missing_message(info, file, access.root)
    if not access.download:
        error = DataError(f"{missing}; {_advice(info, access.root)}")
        error.add_note("download=True downloads it")
        raise error
    if is_offline():
        unset = f"unset {OFFLINE_VARIABLE}, which forbids the download"
        raise DownloadError(f"{missing}; {unset}, or {_advice(info, access.root)}")
    advice = f"{missing}. Either {_advice(info, access.root)}"
    if access.mirrors is None and info.source == "torchvision":
        download_with_torchvision(info, access.root, advice=advice)
        return
    mirrors = info.mirrors if access.mirrors is None else access.mirrors
    name = f"{file.name}.gz"
    fetch(
        [f"{mirror.rstrip('/')}/{name}" for mirror in mirrors],
        raw_folder(access.root, info) / name,
        check=lambda path, name: read_expected(
            path, _expected(info, file, verify=access.verify), name=name
        ),
        max_bytes=max_compressed_bytes(file),
        advice=advice,
    )


def max_compressed_bytes(file: DataFile) -> int:
    """Return an upper bound of the size of the gzipped file; incompressible data grow slightly."""
    return math.prod(file.shape) * file.dtype.itemsize + 2**16


def _missing_message(info: SetInfo, file: DataFile, root: Path) -> str:
    found = "is no folder" if root.exists() else "does not exist"
    note = "" if root.is_dir() else f" (which {found})"
    return f"{root}{note} must hold {info.title}'s {file.name}, plain or .gz, got no such file"


def _advice(info: SetInfo, root: Path) -> str:
    names = ", ".join(f"{file.name}.gz" for file in info.files)
    return (
        f"put {names} into {raw_folder(root, info)}, or name the folder that holds them as root "
        f"or in {ROOT_VARIABLE}; `mlpkit train digits` needs no network"
    )
