"""Reading IDX files: damaged files are refused with one sentence, valid files are read exactly."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import pickle
import re
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mlpkit.data import decode_idx, encode_idx, read_idx
from mlpkit.data.sets._idx import Expected, read_expected
from mlpkit.errors import DataError

NUM_IMAGES = 20
PIXELS = bytes(index * 7 % 251 for index in range(NUM_IMAGES * 28 * 28))
HEADER = bytes([0, 0, 8, 3]) + struct.pack(">III", NUM_IMAGES, 28, 28)
IMAGES = HEADER + PIXELS
LABELS = bytes([0, 0, 8, 1]) + struct.pack(">I", NUM_IMAGES) + bytes(range(10)) * 2
BE32 = 2**32 - 1


def header(*sizes: int, kind: int = 8) -> bytes:
    """Return an IDX header."""
    return bytes([0, 0, kind, len(sizes)]) + b"".join(struct.pack(">I", size) for size in sizes)


def flipped(data: bytes, position: int) -> bytes:
    """Return the bytes with one bit flipped at a position."""
    changed = bytearray(data)
    changed[position] ^= 1
    return bytes(changed)


# Name -> content of the file, and a part of the error message.
DAMAGED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "got an empty file"),
    "1 byte": (b"\0", "got only 1 more bytes"),
    "2 bytes": (b"\0\0", "got only 2 more bytes"),
    "3 bytes": (b"\0\0\x08", "got only 3 more bytes"),
    "header only": (HEADER, "15696 bytes long for shape (20, 28, 28), got 16 bytes"),
    "little-endian magic": (b"\x03\x08\0\0" + IMAGES[4:], "begins with two zero bytes"),
    "type 0": (b"\0\0\0\x03" + IMAGES[4:], "got 0x00"),
    "type 2": (b"\0\0\x02\x08" + IMAGES[4:], "got 0x02"),
    "type 10": (b"\0\0\x0a\x03" + IMAGES[4:], "got 0x0a"),
    "magic ffff": (b"\xff\xff\x08\x03" + IMAGES[4:], "begins with two zero bytes"),
    "no axes": (b"\0\0\x08\0" + IMAGES[4:], "1 to 4 dimensions, got 0"),
    "5 axes": (header(1, 1, 1, 1, 1) + b"x", "1 to 4 dimensions, got 5"),
    "255 axes": (b"\0\0\x08\xff" + IMAGES[4:], "1 to 4 dimensions, got 255"),
    "web page": (b"<!DOCTYPE html><html>Sign in</html>", "a web page"),
    "1 byte short": (IMAGES[:-1], "15696 bytes long for shape (20, 28, 28), got 15695 bytes"),
    "1 byte long": (IMAGES + b"\0", "15696 bytes long for shape (20, 28, 28), got 15697 bytes"),
    "no images": (header(0, 28, 28), "an IDX file without empty dimensions, got shape (0, 28, 28)"),
    "empty axis": (
        header(20, 0, 28),
        "an IDX file without empty dimensions, got shape (20, 0, 28)",
    ),
    "one size of 2^32 - 1": (header(BE32, 28, 28) + PIXELS, f"got {16 + len(PIXELS)} bytes"),
    "all sizes of 2^32 - 1": (
        header(BE32, BE32, BE32, BE32) + PIXELS,
        f"{20 + BE32**4} bytes long",  # 2^128: no overflow to something small
    ),
    "float64 with the bytes of uint8": (b"\0\0\x0e\x03" + IMAGES[4:], "125456 bytes long"),
    **{
        f"header cut after {length}": (HEADER[:length], f"got only {length - 4} more bytes")
        for length in range(5, 16)
    },
}

PACKED = gzip.compress(IMAGES, mtime=0)
DAMAGED_GZIP: dict[str, tuple[bytes, str]] = {
    "magic only": (b"\x1f\x8b", "damaged gzip data"),
    "header only": (PACKED[:10], "damaged gzip data"),
    "half": (PACKED[: len(PACKED) // 2], "damaged gzip data"),
    "without its last byte": (PACKED[:-1], "damaged gzip data"),
    "wrong checksum": (flipped(PACKED, len(PACKED) - 8), "CRC check failed"),
    "wrong length": (flipped(PACKED, len(PACKED) - 1), "damaged gzip data"),
    "flipped bit": (flipped(PACKED, len(PACKED) // 2), "must be"),
    "garbage behind": (PACKED + b"garbage", "damaged gzip data"),
    "the file twice": (
        PACKED * 2,
        "15696 bytes long when decompressed, for shape (20, 28, 28), got more",
    ),
    "nothing": (gzip.compress(b""), "got an empty file"),
    "a web page": (gzip.compress(b"<html>"), "a web page"),
    "short": (
        gzip.compress(IMAGES[:-1]),
        "15696 bytes long when decompressed, for shape (20, 28, 28), got only",
    ),
    "long": (gzip.compress(IMAGES + b"\0"), "got more"),
    "another compression method": (b"\x1f\x8b\x09" + PACKED[3:], "damaged gzip data"),
    "sizes that no gzip of this length can reach": (
        gzip.compress(header(BE32, 28, 28) + PIXELS),
        f"bytes long for shape ({BE32}, 28, 28)",
    ),
    "gzip in gzip": (gzip.compress(PACKED), "begins with two zero bytes"),
}


@contextlib.contextmanager
def refused(path: Path, found: str) -> Iterator[None]:
    """Expect a DataError of one line with the file, the rule, the value found and the advice."""
    with pytest.raises(DataError, match=re.escape(found)) as caught:
        yield
    message = str(caught.value)
    assert re.fullmatch(re.escape(str(path)) + r" must be .+, got .+; .+", message), message


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        *(pytest.param("images", *case, id=name) for name, case in DAMAGED.items()),
        *(pytest.param("images.gz", *case, id=f"{name}.gz") for name, case in DAMAGED_GZIP.items()),
    ],
)
def test_damage_is_refused_in_one_sentence(
    name: str, content: bytes, found: str, tmp_path: Path
) -> None:
    """Every damaged file of both lists, uncompressed and compressed."""
    path = tmp_path / name
    path.write_bytes(content)
    with refused(path, found):
        read_idx(path)


@pytest.mark.parametrize(("content", "found"), DAMAGED.values(), ids=DAMAGED)
def test_damage_is_refused_in_bytes_too(content: bytes, found: str) -> None:
    """`decode_idx` refuses the same content under the given name."""
    with pytest.raises(DataError, match=r"^the answer must be .*" + re.escape(found)):
        decode_idx(content, name="the answer")


@pytest.mark.parametrize("content", [content for content, _ in DAMAGED.values()], ids=DAMAGED)
def test_damage_is_refused_under_compression(content: bytes, tmp_path: Path) -> None:
    """A valid archive of a damaged file is refused as well."""
    path = tmp_path / "images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(content))
    with refused(path, "got"):
        read_idx(path)


VALID = {
    "plain": ("images-idx3-ubyte", IMAGES),
    "gzipped": ("images-idx3-ubyte.gz", PACKED),
    "gzip under a plain name": ("images-idx3-ubyte", PACKED),
    "plain under a gzip name": ("images-idx3-ubyte.gz", IMAGES),
    "two gzip members that make one file": (
        "images.gz",
        gzip.compress(IMAGES[:99]) + gzip.compress(IMAGES[99:]),
    ),
    "stored without compression": ("images.gz", gzip.compress(IMAGES, compresslevel=0)),
    "unicode and spaces in the path": ("Bilder für Müller 数字.idx", IMAGES),
}


@pytest.mark.parametrize(("name", "content"), VALID.values(), ids=VALID)
def test_valid_files_are_read(name: str, content: bytes, tmp_path: Path) -> None:
    """The content decides how a file is read, not its name; NumPy is the oracle."""
    path = tmp_path / name
    path.write_bytes(content)
    oracle = np.frombuffer(PIXELS, np.uint8).reshape(NUM_IMAGES, 28, 28)
    read = read_idx(path, sha256=hashlib.sha256(IMAGES).hexdigest())
    assert read.dtype is torch.uint8
    np.testing.assert_array_equal(read.numpy(), oracle)


def test_a_flipped_bit_is_refused_by_the_digest(tmp_path: Path) -> None:
    """No structural check detects a pixel that differs by one; torchvision accepts it."""
    path = tmp_path / "images"
    path.write_bytes(flipped(IMAGES, 5000))
    wanted = hashlib.sha256(IMAGES).hexdigest()
    with refused(path, f"decompressed bytes have SHA-256 {wanted}, got "):
        read_idx(path, sha256=wanted)
    with pytest.raises(DataError, match="\nto read a custom file, omit sha256"):
        read_idx(path, sha256=wanted)
    assert read_idx(path).shape == (NUM_IMAGES, 28, 28)  # without the digest it is accepted


def test_a_digest_may_be_written_in_upper_case(tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.write_bytes(IMAGES)
    read = read_idx(path, sha256=hashlib.sha256(IMAGES).hexdigest().upper())
    assert bytes(read.numpy()) == PIXELS


def test_a_file_that_does_not_fit_into_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sparse file can have the length that its header declares, whatever the memory.

    NumPy is patched to fail, as it does on systems that do not overcommit memory.
    """
    path = tmp_path / "sparse"
    path.write_bytes(header(2**20))
    os.truncate(path, 8 + 2**20)

    def empty(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(np, "empty", empty)
        with refused(path, "fits into memory, got 1048584 bytes for shape (1048576,)"):
            read_idx(path)


def test_a_path_with_a_null_byte_is_refused() -> None:
    with pytest.raises(DataError, match=r"'a\\x00b' must be a path without null bytes, got a null"):
        read_idx("a\0b")


def test_images_of_14_by_56_are_refused(tmp_path: Path) -> None:
    """The number of bytes is right and the shape is wrong; torchvision accepts it."""
    path = tmp_path / "images"
    path.write_bytes(header(NUM_IMAGES, 14, 56) + PIXELS)
    with refused(path, "of shape (N, 28, 28), got shape (20, 14, 56)"):
        read_idx(path, shape=(None, 28, 28))


@pytest.mark.parametrize(
    ("content", "shape", "found"),
    [
        (IMAGES, (None,), "of shape (N,), got shape (20, 28, 28)"),
        (LABELS, (None, 28, 28), "of shape (N, 28, 28), got shape (20,)"),
        (LABELS, (19,), "of shape (19,), got shape (20,)"),
        (LABELS, (21,), "of shape (21,), got shape (20,)"),
    ],
)
def test_another_shape_than_expected_is_refused(
    content: bytes, shape: tuple[int | None, ...], found: str, tmp_path: Path
) -> None:
    """Images instead of labels, labels instead of images, one too few, one too many."""
    path = tmp_path / "file"
    path.write_bytes(content)
    with refused(path, found):
        read_idx(path, shape=shape)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int32])
def test_another_type_than_expected_is_refused(dtype: torch.dtype, tmp_path: Path) -> None:
    """The file holds numbers of 4 bytes, and uint8 is expected."""
    path = tmp_path / "file"
    path.write_bytes(encode_idx(torch.ones(3, 28, 28, dtype=dtype)))
    with refused(path, f"of type torch.uint8, got {dtype}"):
        read_idx(path, dtype=torch.uint8)


def make_folder(path: Path) -> None:
    path.mkdir()


def make_loop(path: Path) -> None:
    path.symlink_to(path)


def make_broken_link(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda _: None, "No such file or directory"),
        (make_broken_link, "No such file or directory"),
        (make_loop, "Too many levels of symbolic links"),
        (make_folder, "a folder"),
        (os.mkfifo, "a pipe"),
    ],
    ids=["missing", "broken link", "symlink loop", "folder", "FIFO"],
)
@pytest.mark.timeout(10)  # opening a FIFO must not wait for a writer
def test_everything_but_a_regular_file_is_refused(
    make: Callable[[Path], object], found: str, tmp_path: Path
) -> None:
    """Missing files, links, folders and FIFOs are named as such."""
    path = tmp_path / "images"
    make(path)
    with refused(path, found):
        read_idx(path)


def test_a_device_is_refused() -> None:
    """/dev/zero begins with two zero bytes and has no end."""
    with refused(Path("/dev/zero"), "a device"):
        read_idx("/dev/zero")


def test_no_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read every file, so the error is simulated if the tests run as root."""
    path = tmp_path / "images"
    path.write_bytes(IMAGES)
    path.chmod(0)
    if os.access(path, os.R_OK):

        def refuse(*_: object) -> int:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "open", refuse)
    with refused(path, "Permission denied"):
        read_idx(path)


@pytest.mark.parametrize(
    ("swap", "found"),
    [
        (
            lambda path: os.truncate(path, 9000),
            "15696 bytes long when decompressed, for shape (20, 28, 28), got",
        ),
        (lambda path: path.write_bytes(IMAGES + b"more"), "got more"),
        (lambda path: path.write_bytes(flipped(IMAGES, 300)), "have SHA-256"),
    ],
    ids=["shorter", "longer", "other content"],
)
def test_a_file_that_changes_between_check_and_read_is_refused(
    swap: Callable[[Path], object], found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes that are checked are the bytes that are returned."""
    path = tmp_path / "images"
    path.write_bytes(IMAGES)
    fstat = os.fstat

    def fstat_then_swap(descriptor: int) -> os.stat_result:
        status = fstat(descriptor)
        swap(path)
        return status

    monkeypatch.setattr(os, "fstat", fstat_then_swap)
    with refused(path, found):
        read_idx(path, sha256=hashlib.sha256(IMAGES).hexdigest())


def test_a_file_replaced_while_it_is_open_is_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rename onto the path between check and read has no effect: both use one descriptor."""
    path, other = tmp_path / "images", tmp_path / "other"
    path.write_bytes(IMAGES)
    other.write_bytes(flipped(IMAGES, 300))
    fstat = os.fstat

    def fstat_then_replace(descriptor: int) -> os.stat_result:
        status = fstat(descriptor)
        if other.exists():
            other.replace(path)
        return status

    monkeypatch.setattr(os, "fstat", fstat_then_replace)
    assert encode_idx(read_idx(path)) == IMAGES
    assert path.read_bytes() != IMAGES


def test_the_error_of_another_digest_names_both(tmp_path: Path) -> None:
    """The digest found is that of the decompressed bytes, of a file and of an archive."""
    path = tmp_path / "images"
    for content in (IMAGES, PACKED):
        path.write_bytes(content)
        found = hashlib.sha256(IMAGES).hexdigest()
        with pytest.raises(DataError, match=f"SHA-256 {'0' * 64}, got {found}; ") as caught:
            read_expected(path, Expected(sha256="0" * 64))
        # the traceback shows a public name, and the error passes between processes
        assert type(pickle.loads(pickle.dumps(caught.value))) is DataError


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=64) | st.binary(max_size=40).map(lambda tail: b"\0\0" + tail))
@example(b"\0\0\x08\x01\0\0\0\x02ab")
def test_arbitrary_bytes_give_an_error_or_the_right_tensor(data: bytes) -> None:
    """Only DataError is raised, and a tensor that is read encodes to the same bytes."""
    try:
        tensor = decode_idx(data)
    except DataError:
        return
    assert encode_idx(tensor) == data


@st.composite
def nearly_idx(draw: st.DrawFn) -> bytes:
    """Draw a plausible header with about as many bytes as it declares."""
    kind = draw(st.sampled_from([8, 9, 11, 12, 13, 14, 10, 0]))
    sizes = draw(st.lists(st.integers(0, 4), min_size=0, max_size=5))
    length = int(np.prod(sizes)) * {11: 2, 12: 4, 13: 4, 14: 8}.get(kind, 1)
    extra = draw(st.sampled_from([0, 0, 0, 1, -1]))
    length = max(0, length + extra)
    return header(*sizes, kind=kind) + draw(st.binary(min_size=length, max_size=length))


@settings(max_examples=300, deadline=None)
@given(nearly_idx())
def test_nearly_valid_bytes_give_an_error_or_the_right_tensor(data: bytes) -> None:
    """Most of the drawn files are valid; NumPy is the oracle of the numbers."""
    kinds = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
    sizes = tuple(struct.unpack_from(f">{data[3]}I", data, 4))
    stored = kinds.get(data[2])
    valid = (
        stored is not None
        and 1 <= len(sizes) <= 4
        and 0 not in sizes
        and len(data) == 4 + 4 * len(sizes) + int(np.prod(sizes)) * np.dtype(stored).itemsize
    )
    if not valid:
        with pytest.raises(DataError, match="must be"):
            decode_idx(data)
        return
    oracle = np.frombuffer(data, np.dtype(stored), offset=4 + 4 * len(sizes)).reshape(sizes)
    np.testing.assert_array_equal(decode_idx(data).numpy(), oracle)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(nearly_idx(), st.data())
def test_arbitrary_damage_to_an_archive_is_refused_or_harmless(
    data: bytes, draw: st.DataObject
) -> None:
    """A truncated, changed or extended archive raises DataError or gives the same numbers."""
    packed = bytearray(gzip.compress(data, mtime=0))
    position = draw.draw(st.integers(0, len(packed) - 1))
    damage = draw.draw(st.sampled_from(["cut", "change", "append"]))
    if damage == "cut":
        del packed[position:]
    elif damage == "change":
        packed[position] ^= draw.draw(st.integers(1, 255))
    else:
        packed += draw.draw(st.binary(min_size=1, max_size=8))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.gz"
        path.write_bytes(packed)
        try:
            tensor = read_idx(path)
        except DataError:
            return
    assert encode_idx(tensor) == data  # some bytes of a gzip header are ignored


MEASURE = """
import os, resource, sys, tracemalloc
from mlpkit.data import read_idx
from mlpkit.errors import DataError

def measure(path, sha256):
    tracemalloc.start()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    error = ""
    try:
        tensor = read_idx(path, sha256=sha256)
    except DataError as refusal:
        error = str(refusal)
    traced = tracemalloc.get_traced_memory()[1]
    resident = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    print(traced, resident, error, flush=True)

read_idx(sys.argv[1])  # late imports are not counted
for path, sha256 in zip(sys.argv[2::2], sys.argv[3::2]):
    child = os.fork()  # each process has a separate peak
    if child == 0:
        measure(path, sha256)
        os._exit(0)
    os.waitpid(child, 0)
"""


# Memory of a process that varies from run to run: stacks, code pages, allocator arenas.
PAGES = 12 * 2**20


def test_peak_memory(tmp_path: Path) -> None:
    """Allocations and resident memory stay below twice the uncompressed size.

    A decompression bomb, 100 MB of zeros after a small header, uses only the declared size.
    """
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 8, (10_000, 784), dtype=torch.uint8, generator=generator)
    small = tmp_path / "small"
    small.write_bytes(PACKED)
    arguments: list[str | Path] = []
    sizes = []
    for number, dtype in enumerate((torch.uint8, torch.float32)):
        content = encode_idx(pixels.to(dtype))
        for packed in (False, True):
            path = tmp_path / f"{number}-{packed}"
            path.write_bytes(gzip.compress(content, compresslevel=1) if packed else content)
            arguments += [path, hashlib.sha256(content).hexdigest()]
            sizes.append(len(content))
    bomb = tmp_path / "bomb"
    bomb.write_bytes(gzip.compress(HEADER + bytes(100 * 2**20), compresslevel=9))
    assert bomb.stat().st_size < 2**18
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, small, *arguments, bomb, "0" * 64],
        capture_output=True,
        text=True,
        check=True,
    )
    *lines, bomb_line = done.stdout.splitlines()
    assert len(lines) == len(sizes)
    for size, line in zip(sizes, lines, strict=True):
        traced, resident, error = line.split(" ", 2)
        assert error == ""
        assert size <= int(traced) < 1.2 * size + 2**22
        assert int(resident) < 1.5 * size + PAGES
    traced, resident, error = bomb_line.split(" ", 2)
    assert "15696 bytes long when decompressed, for shape (20, 28, 28), got more" in error
    assert int(traced) < 4 * 2**20
    assert int(resident) < 16 * 2**20


def test_no_memory_is_allocated_for_a_wrong_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes are compared before NumPy allocates the array."""

    def refuse(*_: object) -> None:
        pytest.fail("memory was allocated before the sizes were compared")

    path = tmp_path / "images"
    for content in (header(BE32, 28, 28), gzip.compress(header(BE32, 28, 28)), IMAGES[:-1]):
        path.write_bytes(content)
        with monkeypatch.context() as patched:
            patched.setattr(np, "empty", refuse)
            with refused(path, "bytes long for shape"):
                read_idx(path)
