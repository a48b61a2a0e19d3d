"""A folder of pictures laid out by class, read into one tensor."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

from mlpkit._checks import check_bool, check_int, error_message
from mlpkit.data.images._pictures import check_convertible, picture_to_tensor, read_picture
from mlpkit.errors import DataError


def read_picture_folder(
    root: str | os.PathLike[str], *, size: int | tuple[int, int] | None, color: bool
) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Return the pictures, the class indices and the class names below ``root``."""
    mode = "RGB" if check_bool("color", color) else "L"
    wanted = _checked_size(size)
    folders = _class_folders(Path(root))
    pictures: list[Tensor] = []
    targets: list[int] = []
    first: Path | None = None
    for label, folder in enumerate(folders):
        paths = _files(folder)
        if not paths:
            cure = "remove the empty class folder or fill it"
            raise DataError(
                error_message(f"the folder {folder}", "filled with pictures", "none", cure)
            )
        for path in paths:
            pictures.append(_read(path, mode, wanted))
            targets.append(label)
            first = path if first is None else first
            if pictures[-1].shape != pictures[0].shape:
                rule = f"of the size of {first}, {_shown(pictures[0])}"
                cure = "pass size=(height, width) to resize every picture"
                found = _shown(pictures[-1])
                raise DataError(error_message(f"the picture {path}", rule, found, cure))
    names = tuple(folder.name for folder in folders)
    return torch.stack(pictures), torch.tensor(targets), names


def _checked_size(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    sides: object = size
    if not isinstance(sides, tuple | list):
        sides = (sides, sides)
    if len(sides) != 2:
        raise ValueError(error_message("size", "one number, or height and width", size))
    height, width = sides
    return check_int("size", height, minimum=1), check_int("size", width, minimum=1)


def _class_folders(root: Path) -> list[Path]:
    if not root.is_dir():
        raise DataError(error_message("root", "a folder of class folders", str(root)))
    found = [path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")]
    if not found:
        cure = "lay the pictures out as root/<class name>/<any name>.png"
        raise DataError(error_message(f"the folder {root}", "laid out by class", "no folder", cure))
    return sorted(found, key=lambda path: path.name)


def _files(folder: Path) -> list[Path]:
    """Return the files at any depth, sorted, without what is hidden."""
    found = [
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _read(path: Path, mode: str, size: tuple[int, int] | None) -> Tensor:
    picture = read_picture(path)
    check_convertible(picture, f"the picture {path}")
    picture = picture.convert(mode)
    if size is not None and picture.size != (size[1], size[0]):
        picture = picture.resize((size[1], size[0]))  # bicubic, anti-aliased
    return picture_to_tensor(picture)


def _shown(picture: Tensor) -> str:
    height, width = picture.shape[-2:]
    return f"{height} x {width} pixels"
