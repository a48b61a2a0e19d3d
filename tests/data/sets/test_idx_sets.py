"""Data sets read from files: valid files are found, and errors that torchvision accepts are not."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import http.server
import re
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType

import pytest
import torch
from torch import Tensor

from mlpkit.data import DataFile, SetInfo, encode_idx, info, read_idx, write_idx
from mlpkit.data.sets import _idx_sets as idx_sets
from mlpkit.data.sets._idx_sets import Access, max_compressed_bytes, read_test, read_train
from mlpkit.errors import DataError, DownloadError


def examples(number: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return images and labels, every class in turn."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (number, 28, 28), dtype=torch.uint8, generator=generator)
    return images, ((torch.arange(number) + seed) % 10).byte()


TRAIN = examples(40, 1)
TEST = examples(20, 2)
CONTENT = (*TRAIN, *TEST)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def small(entry: SetInfo, content: Sequence[Tensor]) -> SetInfo:
    """Return a catalog entry whose files have the given content."""
    files = []
    for file, tensor in zip(entry.files, content, strict=True):
        plain = encode_idx(tensor)
        files.append(
            DataFile(
                name=file.name,
                shape=tuple(tensor.shape),
                dtype=tensor.dtype,
                sha256=digest(plain),
            )
        )
    return dataclasses.replace(entry, files=tuple(files))


MNIST = small(info("mnist"), CONTENT)


def write_all(
    folder: Path, *, entry: SetInfo = MNIST, end: str = "", content: Sequence[Tensor] = CONTENT
) -> None:
    """Write the files of a set."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, tensor in zip(entry.files, content, strict=True):
        plain = encode_idx(tensor)
        packed = gzip.compress(plain, mtime=0)
        (folder / f"{file.name}{end}").write_bytes(packed if end else plain)


def both(entry: SetInfo, access: Access) -> list[Tensor]:
    return [*read_train(entry, access), *read_test(entry, access)]


def assert_is_content(found: Sequence[Tensor]) -> None:
    for tensor, expected in zip(found, CONTENT, strict=True):
        assert torch.equal(tensor, expected.to(tensor.dtype))
    assert [tensor.dtype for tensor in found] == [torch.uint8, torch.int64] * 2


def offline(root: Path, *, verify: bool = True) -> Access:
    return Access(root=root, download=False, verify=verify)


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("place", ["", "raw", "MNIST/raw", "MNIST", "mnist", "mnist/raw"])
def test_files_are_found_wherever_they_lie(place: str, end: str, tmp_path: Path) -> None:
    """A plain folder, torchvision's folder, and its parents; compressed or not."""
    write_all(tmp_path / place, end=end)
    assert_is_content(both(MNIST, offline(tmp_path)))


def test_the_names_of_some_mirrors_are_known(tmp_path: Path) -> None:
    """Some mirrors write a dot before `idx`."""
    write_all(tmp_path)
    for path in tmp_path.iterdir():
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    assert_is_content(both(MNIST, offline(tmp_path)))


@pytest.mark.parametrize("verify", [True, False])
def test_14_by_56_images_are_refused(verify: bool, tmp_path: Path) -> None:
    """Torchvision accepts them."""
    write_all(tmp_path)
    path = write_idx(tmp_path / MNIST.files[0].name, TRAIN[0].reshape(40, 14, 56))
    match = rf"^{re.escape(str(path))} must be of shape \((40|N), 28, 28\), got shape \(40, 14, 56"
    with pytest.raises(DataError, match=match):
        read_train(MNIST, offline(tmp_path, verify=verify))


@pytest.mark.parametrize("verify", [True, False])
def test_label_255_is_refused(verify: bool, tmp_path: Path) -> None:
    """Torchvision accepts it; here the digest or, without verification, the range refuses it."""
    write_all(tmp_path)
    labels = TRAIN[1].clone()
    labels[7] = 255
    path = write_idx(tmp_path / MNIST.files[1].name, labels)
    found = "have SHA-256" if verify else "labels from 0 to 9, got 255 at position 7"
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))} must .*{found}"):
        read_train(MNIST, offline(tmp_path, verify=verify))


@pytest.mark.parametrize("verify", [True, False])
def test_5000_labels_for_10000_images_are_refused(verify: bool, tmp_path: Path) -> None:
    """Torchvision accepts them; the test uses 20 labels for 40 images."""
    write_all(tmp_path)
    path = write_idx(tmp_path / MNIST.files[1].name, TRAIN[1][:20])
    found = (
        r"of shape \(40,\), got shape \(20,\)"
        if verify
        else r"one label for each of the 40 images in .*train-images.*, got 20 labels"
    )
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))} must .*{found}"):
        read_train(MNIST, offline(tmp_path, verify=verify))


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("number", range(4))
def test_a_flipped_bit_is_refused(number: int, end: str, tmp_path: Path) -> None:
    """Torchvision and verify=False accept a changed pixel or label."""
    write_all(tmp_path, end=end)
    changed = CONTENT[number].clone()
    changed.view(-1)[5] ^= 1
    path = write_idx(tmp_path / f"{MNIST.files[number].name}{end}", changed)
    match = rf"^{re.escape(str(path))} must be the published file, .* got [0-9a-f]{{64}}; its co"
    with pytest.raises(DataError, match=match):
        both(MNIST, offline(tmp_path))
    assert torch.equal(both(MNIST, offline(tmp_path, verify=False))[number].byte(), changed)


def test_a_recompressed_file_is_accepted(tmp_path: Path) -> None:
    """The digest is that of the decompressed bytes."""
    write_all(tmp_path)
    for level, path in enumerate(sorted(tmp_path.iterdir())):
        packed = gzip.compress(path.read_bytes(), compresslevel=2 * level + 1)
        path.with_name(f"{path.name}.gz").write_bytes(packed)
        path.unlink()
    assert_is_content(both(MNIST, offline(tmp_path)))


def test_a_truncated_file_next_to_its_archive_is_skipped(tmp_path: Path) -> None:
    """Torchvision leaves such a file if it is killed while it decompresses the archive."""
    write_all(tmp_path, end=".gz")
    (tmp_path / MNIST.files[0].name).write_bytes(encode_idx(TRAIN[0])[:5000])
    assert_is_content(both(MNIST, offline(tmp_path)))


def test_a_truncated_file_alone_is_refused_and_never_replaced(tmp_path: Path) -> None:
    """A download never overwrites an existing file."""
    write_all(tmp_path)
    path = tmp_path / MNIST.files[0].name
    path.write_bytes(encode_idx(TRAIN[0])[:5000])
    with pytest.raises(
        DataError, match=rf"^{re.escape(str(path))} must be 31376 bytes long .*5000"
    ):
        read_train(MNIST, Access(root=tmp_path, mirrors=("http://127.0.0.1:9/",)))
    assert path.stat().st_size == 5000


def test_images_and_labels_exchanged_are_refused(tmp_path: Path) -> None:
    """Their shapes differ."""
    write_all(tmp_path, content=(TRAIN[1], TRAIN[0], TEST[1], TEST[0]))
    with pytest.raises(DataError, match=r"must be of shape \(N,\), got shape \(40, 28, 28\)"):
        read_train(MNIST, offline(tmp_path, verify=False))


def test_train_and_test_files_exchanged_are_refused(tmp_path: Path) -> None:
    """Their numbers of examples differ."""
    write_all(tmp_path, content=(*TEST, *TRAIN))
    with pytest.raises(DataError, match=r"must be of shape \(40,\), got shape \(20,\)"):
        read_train(MNIST, offline(tmp_path))


def test_without_verification_any_number_of_examples_is_accepted(tmp_path: Path) -> None:
    """Custom images in the same layout can be read."""
    content = (TRAIN[0][:7], TRAIN[1][:7], TEST[0][:1], TEST[1][:1])
    write_all(tmp_path, content=content)
    found = both(MNIST, offline(tmp_path, verify=False))
    assert [len(tensor) for tensor in found] == [7, 7, 1, 1]
    with pytest.raises(DataError, match=r"of shape \(40,\), got shape \(7,\)"):
        read_train(MNIST, offline(tmp_path))


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("place", ["", "FashionMNIST/raw", "FashionMNIST", "fashion_mnist"])
def test_unpacked_files_and_archives(place: str, end: str, tmp_path: Path) -> None:
    """The digest of the content decides, also for an archive that was compressed again."""
    fashion = small(info("fashion_mnist"), CONTENT)
    write_all(tmp_path / place, entry=fashion, end=end)
    assert_is_content(both(fashion, offline(tmp_path)))
    for file, tensor in zip(fashion.files, CONTENT, strict=True):
        again = gzip.compress(encode_idx(tensor), compresslevel=1, mtime=1)
        (tmp_path / place / f"{file.name}{end}").unlink()
        (tmp_path / place / f"{file.name}.gz").write_bytes(again)
    assert_is_content(both(fashion, offline(tmp_path)))
    write_all(tmp_path / place, entry=fashion, content=(*TEST, *TRAIN))
    for path in (tmp_path / place).glob("*.gz"):
        path.unlink()
    with pytest.raises(DataError, match=r"must be .*, got"):
        read_train(fashion, offline(tmp_path))


@pytest.mark.parametrize("outer", ["-idx", ".idx"])
@pytest.mark.parametrize("place", ["", "MNIST/raw", "mnist"])
def test_files_in_folders_of_the_same_name(place: str, outer: str, tmp_path: Path) -> None:
    """Some programs unpack a file into a folder that they name after it."""
    for file, tensor in zip(MNIST.files, CONTENT, strict=True):
        folder = tmp_path / place / file.name.replace("-idx", outer)
        folder.mkdir(parents=True)
        (folder / file.name.replace("-idx", ".idx")).write_bytes(encode_idx(tensor))
    assert_is_content(both(MNIST, offline(tmp_path)))


OTHER_CONTENT = (*examples(40, 3), *examples(20, 4))
OTHER = small(info("fashion_mnist"), OTHER_CONTENT)


def test_files_of_another_set_under_the_same_names_are_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MNIST in a plain folder does not conflict with Fashion-MNIST in torchvision's folder."""
    catalog = {"mnist": MNIST, "fashion_mnist": OTHER}
    monkeypatch.setattr(idx_sets, "CATALOG", MappingProxyType(catalog))
    write_all(tmp_path)
    with pytest.raises(DataError, match="must hold Fashion-MNIST's train-labels-idx1-ubyte, plain"):
        read_train(OTHER, offline(tmp_path))
    write_all(tmp_path / "FashionMNIST" / "raw", content=(*examples(40, 3), *examples(20, 4)))
    assert torch.equal(read_train(OTHER, offline(tmp_path))[0], examples(40, 3)[0])
    assert_is_content(both(MNIST, offline(tmp_path)))


@pytest.mark.parametrize("end", ["", ".gz"])
def test_a_set_without_digests_is_not_mistaken_for_another(
    end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KMNIST's files have no published digests, but MNIST's files under the same names do."""
    kmnist = small(info("kmnist"), CONTENT)
    files = tuple(dataclasses.replace(file, sha256=None) for file in kmnist.files)
    kmnist = dataclasses.replace(kmnist, files=files)
    monkeypatch.setattr(idx_sets, "CATALOG", MappingProxyType({"mnist": MNIST, "kmnist": kmnist}))
    write_all(tmp_path, end=end)
    with pytest.raises(DataError, match="must hold Kuzushiji-MNIST's train-labels-idx1-ubyte, pl"):
        read_train(kmnist, offline(tmp_path))
    monkeypatch.setattr(idx_sets, "CATALOG", MappingProxyType({"kmnist": kmnist}))
    assert_is_content(both(kmnist, offline(tmp_path)))


def test_archives_and_uncompressed_files_of_another_set_are_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The digest of the content decides, in a file and in an archive."""
    fashion = small(info("fashion_mnist"), OTHER_CONTENT)
    catalog = {"mnist": MNIST, "fashion_mnist": fashion}
    monkeypatch.setattr(idx_sets, "CATALOG", MappingProxyType(catalog))
    write_all(tmp_path, end=".gz", content=OTHER_CONTENT)
    with pytest.raises(DataError, match="must hold MNIST's train-labels-idx1-ubyte, plain"):
        read_train(MNIST, offline(tmp_path))
    write_all(tmp_path)  # uncompressed MNIST next to archives of Fashion-MNIST
    assert_is_content(both(MNIST, offline(tmp_path)))
    assert torch.equal(read_train(fashion, offline(tmp_path))[0], OTHER_CONTENT[0])
    for path in tmp_path.glob("*.gz"):
        path.unlink()
    with pytest.raises(DataError, match="must hold Fashion-MNIST's train-labels-idx1-ubyte, plain"):
        read_train(fashion, offline(tmp_path))


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    """The message has the file, the folder and the remedies; no folder is created."""
    root = tmp_path / "missing"
    with pytest.raises(DataError, match="must hold MNIST's") as caught:
        read_train(MNIST, offline(root))
    names = ", ".join(f"{file.name}.gz" for file in MNIST.files)
    assert str(caught.value) == (
        f"{root} (which does not exist) must hold MNIST's train-labels-idx1-ubyte, plain or "
        f".gz, got no such file; put {names} into {root}/MNIST/raw, or name the folder that holds "
        "them as root or in MLPKIT_DATA; `mlpkit train digits` needs no network"
    )
    assert caught.value.__notes__ == ["download=True downloads it"]
    assert not isinstance(caught.value, DownloadError)
    assert not root.exists()
    root.touch()
    with pytest.raises(DataError, match=r"\(which is no folder\) must hold MNIST's"):
        read_train(MNIST, offline(root))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The folder exists, and one of its files is missing."""
    write_all(tmp_path)
    (tmp_path / MNIST.files[2].name).unlink()
    match = rf"^{re.escape(str(tmp_path))} must hold MNIST's t10k-images-idx3-ubyte, plain or .gz"
    with pytest.raises(DataError, match=match):
        both(MNIST, offline(tmp_path))


def test_the_offline_switch_forbids_the_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLPKIT_OFFLINE overrides download=True; existing files are still read."""
    monkeypatch.setenv("MLPKIT_OFFLINE", "1")
    with pytest.raises(DownloadError, match="unset MLPKIT_OFFLINE, which forbids the download"):
        read_train(MNIST, Access(root=tmp_path))
    write_all(tmp_path)
    assert_is_content(both(MNIST, Access(root=tmp_path)))


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serve a folder without logging."""

    def log_message(self, *_: object) -> None:
        """Suppress logging."""


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[str]:
    """The URL of a local server that has the files."""
    write_all(tmp_path / "published", end=".gz")
    handler = partial(Quiet, directory=str(tmp_path / "published"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(
    "entry", [MNIST, small(info("fashion_mnist"), CONTENT), small(info("kmnist"), CONTENT)]
)
def test_missing_files_are_downloaded_to_torchvisions_layout(
    entry: SetInfo, slash: str, mirror: str, tmp_path: Path
) -> None:
    """They come from the given mirror instead of the catalog's, and only once."""
    root = tmp_path / "data"
    assert_is_content(both(entry, Access(root=root, mirrors=(f"{mirror}{slash}",))))
    folder = root / entry.folder / "raw"
    expected = sorted(f"{file.name}.gz" for file in entry.files)
    assert sorted(path.name for path in folder.iterdir()) == expected
    assert_is_content(both(entry, offline(root)))


def test_only_what_is_missing_is_downloaded(mirror: str, tmp_path: Path) -> None:
    """Three of the four files exist in a plain folder."""
    write_all(tmp_path)
    (tmp_path / MNIST.files[3].name).unlink()
    assert_is_content(both(MNIST, Access(root=tmp_path, mirrors=(mirror,))))
    fetched = [path.name for path in (tmp_path / "MNIST" / "raw").iterdir()]
    assert fetched == [f"{MNIST.files[3].name}.gz"]


def test_a_mirror_with_another_content_is_refused(mirror: str, tmp_path: Path) -> None:
    """Downloaded files are verified, and the message ends with the remedies."""
    with pytest.raises(DownloadError, match="could not be downloaded") as caught:
        read_train(OTHER, Access(root=tmp_path / "data", mirrors=(mirror, f"{mirror}/nowhere")))
    lines = str(caught.value).splitlines()
    name = "train-labels-idx1-ubyte.gz"
    assert lines[0] == f"{name} could not be downloaded:"
    assert lines[1] == (
        f"  {mirror}/{name}: the downloaded file must be the published file, whose decompressed "
        f"bytes have SHA-256 {OTHER.files[1].sha256}, got {MNIST.files[1].sha256}"
    )
    assert lines[2].startswith(f"  {mirror}/nowhere/{name}: 404")
    assert str(tmp_path / "data" / "FashionMNIST" / "raw") in lines[3]
    for file in OTHER.files:
        assert f"{file.name}.gz" in lines[3]
    assert lines[3].endswith("`mlpkit train digits` needs no network")
    assert not (tmp_path / "data").exists()


def test_the_size_limit_admits_incompressible_files() -> None:
    """Gzip enlarges noise by less than the margin of the limit."""
    noise = torch.randint(0, 256, (4000, 28, 28), dtype=torch.uint8)
    packed = gzip.compress(encode_idx(noise))
    assert len(packed) > noise.nbytes
    file = DataFile(name="x-idx3-ubyte", shape=tuple(noise.shape))
    assert len(packed) < max_compressed_bytes(file)


def test_real_mnist_is_read_as_numpy_reads_it(mnist_root: Path) -> None:
    """All four files, verified by their published digests, against gzip and NumPy."""
    import numpy as np

    entry = info("mnist")
    found = both(entry, offline(mnist_root))
    for file, tensor in zip(entry.files, found, strict=True):
        data = gzip.decompress((mnist_root / f"{file.name}.gz").read_bytes())
        oracle = np.frombuffer(data, np.uint8, offset=4 + 4 * len(file.shape)).reshape(file.shape)
        np.testing.assert_array_equal(tensor.numpy(), oracle)
        assert read_idx(mnist_root / f"{file.name}.gz", sha256=file.sha256).shape == file.shape
