"""A data set from its IDX files: found, fetched where missing, checked against the catalogue."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mlpkit.data.sets._catalog import CATALOG, DataFile, SetInfo
from mlpkit.data.sets._download import fetch
from mlpkit.data.sets._idx import Expected, ForeignError, read_expected
from mlpkit.data.sets._locate import (
    OFFLINE_VARIABLE,
    ROOT_VARIABLE,
    candidates,
    is_offline,
    own_folder,
)
from mlpkit.data.sets._torchvision import fetch_by_torchvision
from mlpkit.errors import DataError, DownloadError


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
    stored, labels_path = _read_file(info, labels_file, access)
    labels = _class_indices(stored, info, labels_path)
    images, images_path = _read_file(info, images_file, access)
    if len(images) != len(labels):
        raise DataError(
            f"{labels_path} must hold one label for each of the {len(images)} images in "
            f"{images_path}, got {len(labels)} labels; take both files from one source"
        )
    if info.transposed:
        images = images.transpose(1, 2).contiguous()
    return images, labels


def _class_indices(stored: Tensor, info: SetInfo, path: Path) -> Tensor:
    """Return int64 indices of classes; refuse a label that names none."""
    labels = stored if stored.ndim == 1 else stored[:, 0]  # the others say who wrote it, and where
    first, last = info.first_label, info.first_label + len(info.classes) - 1
    lowest, highest = (int(bound) for bound in torch.aminmax(labels))
    if lowest < first or highest > last:
        wrong = lowest if lowest < first else highest
        where = int((labels == wrong).nonzero()[0])
        raise DataError(
            f"{path} must hold labels from {first} to {last}, got {wrong} at position {where}; "
            "the file is damaged or belongs to another data set"
        )
    return labels.long() - first


def _read_file(info: SetInfo, file: DataFile, access: Access) -> tuple[Tensor, Path]:
    """Read the first good one of the files that may be it; fetch it where there is none."""
    expected = _expected(info, file, verify=access.verify)
    damaged: DataError | None = None
    for path in candidates(access.root, info, file):
        try:
            return read_expected(path, expected), path
        except ForeignError:  # MNIST and its successors use the same names
            continue
        except DataError as error:
            damaged = damaged or error
    if damaged is not None:
        raise damaged
    _fetch_file(info, file, access)
    for path in candidates(access.root, info, file):
        return read_expected(path, expected), path
    raise DataError(_missing(info, file, access.root))


def _expected(info: SetInfo, file: DataFile, *, verify: bool) -> Expected:
    """Return what a file must be; without verification the number of examples is free."""
    if not verify:
        return Expected(shape=(None, *file.shape[1:]), dtype=file.dtype)
    return Expected(
        shape=file.shape,
        dtype=file.dtype,
        sha256=file.sha256,
        archive_sha256=file.archive_sha256,
        foreign=_digests_of_other_sets(info),
    )


def _digests_of_other_sets(info: SetInfo) -> frozenset[str]:
    """Return every published digest of a file that belongs to another set."""
    return frozenset(
        digest
        for other in CATALOG.values()
        if other.name != info.name
        for file in other.files
        for digest in (file.sha256, file.archive_sha256)
        if digest is not None
    )


def _fetch_file(info: SetInfo, file: DataFile, access: Access) -> None:
    """Fetch a missing file into the set's own folder, if that is allowed."""
    missing = _missing(info, file, access.root)
    if not access.download:
        raise DataError(f"{missing}; pass download=True, or {_advice(info, access.root)}")
    if is_offline():
        unset = f"unset {OFFLINE_VARIABLE}, which forbids the download"
        raise DownloadError(f"{missing}; {unset}, or {_advice(info, access.root)}")
    advice = f"{missing}. Either {_advice(info, access.root)}"
    if access.mirrors is None and info.source == "torchvision":
        fetch_by_torchvision(info, access.root, advice=advice)
        return
    mirrors = info.mirrors if access.mirrors is None else access.mirrors
    name = f"{file.name}.gz"
    fetch(
        [f"{mirror.rstrip('/')}/{name}" for mirror in mirrors],
        own_folder(access.root, info) / name,
        check=lambda path, name: read_expected(
            path, _expected(info, file, verify=access.verify), name=name
        ),
        max_bytes=max_packed_bytes(file),
        advice=advice,
    )


def max_packed_bytes(file: DataFile) -> int:
    """Return more bytes than the file can have: what deflate cannot compress grows a little."""
    return math.prod(file.shape) * file.dtype.itemsize + 2**16


def _missing(info: SetInfo, file: DataFile, root: Path) -> str:
    there = "" if root.is_dir() else " (there is no such folder)"
    return f"{root}{there} must hold {info.title}'s {file.name}, plain or .gz, got no such file"


def _advice(info: SetInfo, root: Path) -> str:
    names = ", ".join(f"{file.name}.gz" for file in info.files)
    return (
        f"put {names} into {own_folder(root, info)}, or name the folder that has them by root= or "
        f"{ROOT_VARIABLE}; `mlpkit train digits` needs no network"
    )
