"""Files that torchvision's data set classes fetch; they are read and checked by mlpkit itself."""

from __future__ import annotations

import http.client
import importlib
import zipfile
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType

from mlpkit.data.sets._catalog import DatasetName, SetInfo
from mlpkit.data.sets._download import LOCK_TIMEOUT, folder_for_download, locked
from mlpkit.data.sets._locate import own_folder
from mlpkit.errors import DownloadError, MissingDependencyError

# Class in torchvision.datasets, and how it is told which files: each call fetches some of them.
_CALLS: Mapping[DatasetName, tuple[str, tuple[Mapping[str, str | bool], ...]]] = MappingProxyType(
    {
        "kmnist": ("KMNIST", ({},)),
        "qmnist": ("QMNIST", ({"what": "train"}, {"what": "test"})),
        "emnist_balanced": ("EMNIST", ({"split": "balanced"},)),
        "emnist_byclass": ("EMNIST", ({"split": "byclass"},)),
        "emnist_bymerge": ("EMNIST", ({"split": "bymerge"},)),
        "emnist_digits": ("EMNIST", ({"split": "digits"},)),
        "emnist_letters": ("EMNIST", ({"split": "letters"},)),
        "emnist_mnist": ("EMNIST", ({"split": "mnist"},)),
    }
)
_FAILURES = (
    RuntimeError,
    OSError,
    ValueError,
    EOFError,
    AssertionError,
    KeyError,
    http.client.HTTPException,
    zipfile.BadZipFile,
)


def fetch_by_torchvision(info: SetInfo, root: Path, *, advice: str) -> None:
    """Let torchvision fetch the files of a set into ``root``, in its own layout.

    Raises:
        MissingDependencyError: If torchvision cannot be imported.
        DownloadError: If it could not fetch them.
    """
    name, calls = _CALLS[info.name]
    dataset = _class(name, info)
    folder = own_folder(root, info)
    try:
        with folder_for_download(folder), locked(folder / "torchvision", LOCK_TIMEOUT):
            for arguments in calls:
                dataset(str(root), download=True, **arguments)
    except _FAILURES as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DownloadError(
            f"{info.title} could not be downloaded by torchvision.datasets.{name}: {reason}\n"
            f"{advice}"
        ) from error


def _class(name: str, info: SetInfo) -> Callable[..., object]:
    """Return a data set class, or say why torchvision cannot be imported beside this torch."""
    try:
        module = importlib.import_module("torchvision.datasets")
    except (ImportError, RuntimeError, OSError) as error:
        raise MissingDependencyError(_explanation(info, error)) from error
    found: Callable[..., object] = getattr(module, name)
    return found


def _explanation(info: SetInfo, error: Exception) -> str:
    """Return what is installed, what went wrong and how to mend it."""
    needed = f"{info.title} is downloaded by torchvision"
    try:
        vision = version("torchvision")
    except PackageNotFoundError:
        return f"{needed}, which is not installed; pip install torchvision"
    torch = version("torch")
    reason = " ".join(str(error).split())
    text = (
        f'{needed}, but torchvision {vision} cannot be imported next to torch {torch} ("{reason}").'
    )
    if torch.endswith("+cpu"):
        text += (
            " The torchvision of PyPI is a CUDA build and this torch is CPU-only: "
            f"pip install --force-reinstall --no-deps torchvision=={vision.partition('+')[0]} "
            "--index-url https://download.pytorch.org/whl/cpu"
        )
    else:
        text += " Install the torchvision that belongs to this torch, from the same index"
    return f"{text}. mlpkit's digits, MNIST and Fashion-MNIST do not need torchvision."
