"""KMNIST, QMNIST and EMNIST: torchvision downloads, mlpkit reads, and both agree."""

from __future__ import annotations

import importlib
import sys
import urllib.error
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from mlpkit.data import SetInfo, info, write_idx
from mlpkit.data.sets import _torchvision as from_torchvision
from mlpkit.data.sets._catalog import CATALOG
from mlpkit.data.sets._idx_sets import Access, read_test, read_train
from mlpkit.errors import DownloadError, MissingDependencyError

SETS = [
    pytest.param(entry, id=entry.name)
    for entry in CATALOG.values()
    if entry.source == "torchvision"
]


def content(entry: SetInfo, number: int = 130) -> list[Tensor]:
    """Return plausible content of the four files: every class, asymmetric images."""
    generator = torch.Generator().manual_seed(0)
    tensors = []
    for file in entry.files:
        shape = (number, *file.shape[1:])
        if len(shape) == 3:
            tensor = torch.randint(0, 256, shape, generator=generator)
        else:
            classes = torch.arange(number) % len(entry.classes) + entry.first_label
            tensor = classes if len(shape) == 1 else torch.stack([classes] + [classes + 9] * 7, 1)
        tensors.append(tensor.to(file.dtype))
    return tensors


def write_all(root: Path, entry: SetInfo) -> None:
    """Write the files where torchvision decompresses them."""
    folder = root / entry.folder / "raw"
    folder.mkdir(parents=True)
    for file, tensor in zip(entry.files, content(entry), strict=True):
        write_idx(folder / file.name, tensor)


def test_every_set_that_comes_from_torchvision_has_a_call() -> None:
    """The catalog and the table of calls have the same names."""
    wanted = {entry.name for entry in CATALOG.values() if entry.source == "torchvision"}
    assert set(from_torchvision._CALLS) == wanted


@pytest.mark.parametrize("entry", SETS)
def test_the_same_files_give_the_same_examples_as_torchvision(
    entry: SetInfo, tmp_path: Path
) -> None:
    """In torchvision EMNIST is transposed and the labels of its letters start at 1."""
    write_all(tmp_path, entry)
    vision = importlib.import_module("torchvision.datasets")
    name, calls = from_torchvision._CALLS[entry.name]
    access = Access(root=tmp_path, download=False, verify=False)
    for train, read in ((True, read_train), (False, read_test)):
        images, labels = read(entry, access)
        chosen = calls[0] if len(calls) == 1 else calls[0 if train else 1]
        oracle = getattr(vision, name)(str(tmp_path), train=train, **chosen)
        expected = oracle.data.transpose(1, 2) if name == "EMNIST" else oracle.data
        targets = oracle.targets if oracle.targets.ndim == 1 else oracle.targets[:, 0]
        assert torch.equal(images, expected)
        assert images.is_contiguous()
        assert torch.equal(labels, targets.long() - (1 if entry.name == "emnist_letters" else 0))
        assert int(labels.min()) == 0
        assert int(labels.max()) == len(entry.classes) - 1


class Stub:
    """A replacement of a data set class that writes the files instead of downloading them."""

    def __init__(self, entry: SetInfo, fail: Exception | None = None) -> None:
        self.entry = entry
        self.fail = fail
        self.calls: list[dict[str, object]] = []

    def __call__(self, root: str, **arguments: object) -> None:
        self.calls.append(arguments)
        if self.fail is not None:
            raise self.fail
        if len(self.calls) == 1:
            folder = Path(root) / self.entry.folder / "raw"
            for file, tensor in zip(self.entry.files, content(self.entry), strict=True):
                write_idx(folder / file.name, tensor)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, object], None]:
    """Replace a class of torchvision.datasets."""

    def put(name: str, stub: object) -> None:
        module = ModuleType("torchvision.datasets")
        setattr(module, name, stub)
        monkeypatch.setitem(sys.modules, "torchvision.datasets", module)

    return put


@pytest.mark.parametrize("entry", SETS)
def test_missing_files_are_downloaded_by_torchvision(
    entry: SetInfo, install: Callable[[str, object], None], tmp_path: Path
) -> None:
    """Each call of its class is made once."""
    stub = Stub(entry)
    name, calls = from_torchvision._CALLS[entry.name]
    install(name, stub)
    access = Access(root=tmp_path, verify=False)
    assert len(read_train(entry, access)[0]) == 130
    assert len(read_test(entry, access)[0]) == 130
    assert stub.calls == [{"download": True, **call} for call in calls]
    names = sorted(path.name for path in (tmp_path / entry.folder / "raw").iterdir())
    assert names == sorted(file.name for file in entry.files)  # no lock file remains


@pytest.mark.parametrize(
    "failure",
    [
        RuntimeError("Error downloading train-images-idx3-ubyte.gz:\nTried http://x"),
        urllib.error.URLError("Name or service not known"),
        ConnectionResetError(104, "Connection reset by peer"),
        AssertionError(),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_a_failed_download_by_torchvision_is_a_download_error(
    failure: Exception, install: Callable[[str, object], None], tmp_path: Path
) -> None:
    """The message has two lines, failure and remedy, and no folder remains."""
    install("KMNIST", Stub(info("kmnist"), failure))
    with pytest.raises(DownloadError, match="could not be downloaded by torchvision") as caught:
        read_train(info("kmnist"), Access(root=tmp_path / "data"))
    first, second = str(caught.value).splitlines()
    words = " ".join(str(failure).split()) or "AssertionError"
    assert first == (
        f"Kuzushiji-MNIST could not be downloaded by torchvision.datasets.KMNIST: {words}"
    )
    assert second.endswith("`mlpkit train digits` needs no network")
    assert not (tmp_path / "data").exists()


def test_the_offline_switch_applies_to_torchvision(
    install: Callable[[str, object], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torchvision is not called."""
    stub = Stub(info("kmnist"))
    install("KMNIST", stub)
    monkeypatch.setenv("MLPKIT_OFFLINE", "1")
    with pytest.raises(DownloadError, match="MLPKIT_OFFLINE"):
        read_train(info("kmnist"), Access(root=tmp_path))
    assert stub.calls == []


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a package torchvision first in the path whose import raises an error."""

    def put(statement: str) -> None:
        package = tmp_path / "site" / "torchvision"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(statement, encoding="utf-8")
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.syspath_prepend(tmp_path / "site")

    return put


@pytest.mark.parametrize(
    "error",
    [
        'RuntimeError("operator torchvision::nms does not exist")',
        'ImportError("libcudart.so.13: cannot open shared object file")',
        'OSError("libtorch_cuda.so: undefined symbol")',
    ],
)
@pytest.mark.parametrize("torch_version", ["2.13.0+cpu", "2.15.0"])
def test_an_incompatible_torchvision_is_explained(
    error: str,
    torch_version: str,
    broken: Callable[[str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The message has both versions, the reason, the remedy and the sets that do not need it."""
    broken(f"raise {error}")
    versions = {"torchvision": "0.28.0", "torch": torch_version}
    monkeypatch.setattr(from_torchvision, "version", versions.__getitem__)
    with pytest.raises(MissingDependencyError, match="cannot be imported next to torch") as caught:
        read_train(info("kmnist"), Access(root=tmp_path / "data"))
    message = str(caught.value)
    reason = error.partition('"')[2].removesuffix('")')
    start = (
        "Kuzushiji-MNIST is downloaded by torchvision, but torchvision 0.28.0 cannot be imported"
    )
    assert message.startswith(f'{start} next to torch {torch_version} ("{reason}").')
    cpu = "torchvision==0.28.0 --index-url https://download.pytorch.org/whl/cpu"
    assert (cpu in message) is torch_version.endswith("+cpu")
    assert message.endswith("The digits, MNIST and Fashion-MNIST do not need torchvision.")
    assert not (tmp_path / "data").exists()


def test_a_missing_torchvision_is_explained(
    broken: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message has the command that installs it."""
    broken("raise ModuleNotFoundError(\"No module named 'torchvision'\")")

    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(from_torchvision, "version", absent)
    with pytest.raises(MissingDependencyError, match="not installed; pip install torchvision"):
        read_train(info("qmnist"), Access(root=tmp_path))


def test_existing_files_need_no_torchvision(broken: Callable[[str], None], tmp_path: Path) -> None:
    """An incompatible torchvision is not imported."""
    broken("raise RuntimeError('operator torchvision::nms does not exist')")
    entry = info("emnist_letters")
    write_all(tmp_path, entry)
    images, labels = read_train(entry, Access(root=tmp_path, verify=False))
    assert len(images) == len(labels) == 130
