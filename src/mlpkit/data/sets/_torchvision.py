"""Downloads by torchvision's data set classes; mlpkit reads and checks the files afterwards."""

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
from mlpkit.data.sets._locate import raw_folder
from mlpkit.errors import DownloadError, MissingDependencyError

# Class in torchvision.datasets, and the arguments of each call that downloads some of the files.
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


def download_with_torchvision(info: SetInfo, root: Path, *, advice: str) -> None:
    """Download the files of a set with torchvision, into torchvision's layout below ``root``.

    Raises:
        MissingDependencyError: If torchvision cannot be imported.
        DownloadError: If the download fails; the message ends in ``advice``.
    """
    name, calls = _CALLS[info.name]
    dataset = _dataset_class(name, info)
    folder = raw_folder(root, info)
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


def _dataset_class(name: str, info: SetInfo) -> Callable[..., object]:
    """Return a class of torchvision.datasets; the error explains why the import failed."""
    try:
        module = importlib.import_module("torchvision.datasets")
    except (ImportError, RuntimeError, OSError) as error:
        raise MissingDependencyError(_import_error_message(info, error)) from error
    found: Callable[..., object] = getattr(module, name)
    return found


def _import_error_message(info: SetInfo, error: Exception) -> str:
    """Return a message with the installed versions, the cause and the command that fixes it."""
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
            " torchvision on PyPI is a CUDA build, but this torch is CPU-only: "
            f"pip install --force-reinstall --no-deps torchvision=={vision.partition('+')[0]} "
            "--index-url https://download.pytorch.org/whl/cpu"
        )
    else:
        text += " Install the torchvision build that matches this torch, from the same index"
    return f"{text}. The digits, MNIST and Fashion-MNIST do not need torchvision."
