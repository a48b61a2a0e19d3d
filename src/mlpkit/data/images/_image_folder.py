"""Reading a folder of images, with one subfolder per class, into one tensor."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

from mlpkit._checks import Unquoted, check_bool, check_int, error_message
from mlpkit.data.images._pillow import check_convertible, pil_to_tensor, read_image
from mlpkit.errors import DataError


def read_image_folder(
    root: str | os.PathLike[str],
    *,
    size: int | tuple[int, int] | None,
    color: bool,
    classes: tuple[str, ...] | None = None,
) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Return the images, the class indices and the class names.

    Args:
        root: Folder that holds the class folders.
        size: Height and width of the images, or a number for both; None leaves them as they are.
        color: RGB instead of gray.
        classes: Name of each class; None takes the names of the folders.

    Raises:
        DataError: If the folder does not have this layout or an image cannot be used.
        ValueError: If a class folder is not in ``classes``.
    """
    check_bool("color", color)
    resized = _check_size(size)
    folders = _class_folders(Path(root))
    found = tuple(folder.name for folder in folders)
    names = found if classes is None else classes
    unknown = [name for name in found if name not in names]
    if unknown:
        rule = f"names that include those of the class folders, {list(found)}"
        raise ValueError(error_message("classes", rule, list(names), f"add {unknown}"))
    images: list[Tensor] = []
    targets: list[int] = []
    first: Path | None = None
    for folder in folders:
        label = names.index(folder.name)
        paths = _files(folder)
        if not paths:
            name = f"the class folder {folder}"
            cure = "add images or remove the folder"
            raise DataError(
                error_message(name, "a folder with images", Unquoted("an empty folder"), cure)
            )
        for path in paths:
            images.append(read_sized_image(path, size=resized, color=color))
            targets.append(label)
            first = path if first is None else first
            if images[-1].shape != images[0].shape:
                rule = f"of the same size as {first}, {_size_text(images[0])}"
                cure = "pass size=(height, width) to resize every image"
                got = _size_text(images[-1])
                raise DataError(error_message(f"the image {path}", rule, Unquoted(got), cure))
    return torch.stack(images), torch.tensor(targets), names


def _check_size(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    """Return (height, width) from one number or a pair; None stays None."""
    if size is None:
        return None
    sides: object = size
    if not isinstance(sides, tuple | list):
        sides = (sides, sides)
    if len(sides) != 2:
        raise ValueError(error_message("size", "one number, or (height, width)", size))
    height, width = sides
    return check_int("size", height, minimum=1), check_int("size", width, minimum=1)


def _class_folders(root: Path) -> list[Path]:
    """Return the subfolders of ``root``, sorted by name, without hidden ones."""
    if not root.is_dir():
        raise DataError(error_message("root", "a folder of class folders", str(root)))
    found = [path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")]
    if not found:
        cure = "arrange the images as root/<class name>/<file name>.png"
        raise DataError(
            error_message(
                f"the folder {root}", "a folder of class folders", Unquoted("no subfolder"), cure
            )
        )
    return sorted(found, key=lambda path: path.name)


def _files(folder: Path) -> list[Path]:
    """Return the files at any depth, sorted by path, without hidden files and folders."""
    found = [
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def read_sized_image(path: Path, *, size: tuple[int, int] | None, color: bool) -> Tensor:
    """Return an image file as uint8 of shape (H, W), or (3, H, W) in color.

    Args:
        path: The file.
        size: Height and width; None leaves them as they are.
        color: RGB instead of gray.

    Raises:
        DataError: If the file is no image, or has transparent pixels or more than 8 bits.
    """
    image = read_image(path)
    check_convertible(image, f"the image {path}")
    image = image.convert("RGB" if color else "L")
    if size is not None and image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]))  # Pillow's default: bicubic with antialiasing
    return pil_to_tensor(image)


def _size_text(image: Tensor) -> str:
    height, width = image.shape[-2:]
    return f"{height} x {width} pixels"
