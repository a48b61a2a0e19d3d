"""The IDX format of the MNIST family: bytes to a tensor, nothing taken on trust."""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import os
import stat
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mlpkit.errors import DataError

# Type byte of the header -> how the numbers are stored (big-endian) and what they become.
STORED: Mapping[int, tuple[str, torch.dtype]] = {
    0x08: (">u1", torch.uint8),
    0x09: (">i1", torch.int8),
    0x0B: (">i2", torch.int16),
    0x0C: (">i4", torch.int32),
    0x0D: (">f4", torch.float32),
    0x0E: (">f8", torch.float64),
}
MAX_AXES = 4
_CHUNK = 2**20
_GZIP_MAGIC = b"\x1f\x8b"
_MAX_RATIO = 1032  # deflate stores at best 258 bytes in 2 bits
_NONBLOCK: int = getattr(os, "O_NONBLOCK", 0)  # opening a FIFO must not wait for a writer
_BINARY: int = getattr(os, "O_BINARY", 0)
_WAIVER = "pass verify=False only for a file of your own"
_RENEW = "delete it, and copy or download it again"


class IdxError(DataError):
    """A file is not the IDX file that it should be.

    Attributes:
        problem: The message without the cure.
    """

    def __init__(self, name: str, rule: str, found: str, cure: str) -> None:
        self.problem = f"{name} must be {rule}, got {found}"
        super().__init__(f"{self.problem}; {cure}")


class DigestError(IdxError):
    """A file is well formed, but its bytes are not the published ones.

    Attributes:
        sha256: SHA-256 of the unpacked bytes that were found, in hexadecimal.
    """

    def __init__(self, name: str, wanted: str, found: str, sha256: str, waiver: str) -> None:
        rule = f"the published file, whose {wanted}"
        cure = f"a byte was changed: {_RENEW}; {waiver}"
        super().__init__(name, rule, found, cure)
        self.sha256 = sha256


class ForeignError(IdxError):
    """A file is well formed, but its bytes are known as those of another file."""

    def __init__(self, name: str) -> None:
        cure = "keep each set in a folder of its own"
        super().__init__(name, "a file of this data set", "one of another set", cure)


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """What is known of an IDX file before it is opened; None: anything will do.

    Attributes:
        shape: Size of each axis; None in the place of one that is free.
        dtype: Type of the numbers.
        sha256: Digest of the unpacked bytes.
        archive_sha256: Digest of the file as it lies there, compressed.
        foreign: Digests, unpacked or compressed, of files that are known to be something else.
        waiver: How the caller can do without a digest, for the message of one that differs.
    """

    shape: tuple[int | None, ...] | None = None
    dtype: torch.dtype | None = None
    sha256: str | None = None
    archive_sha256: str | None = None
    foreign: frozenset[str] = frozenset()
    waiver: str = _WAIVER


class _Source(Protocol):
    def readinto(self, buffer: memoryview, /) -> int | None: ...


def decode_idx(data: bytes, *, name: str = "data") -> Tensor:
    """Turn the bytes of an unpacked IDX file into a tensor: a pure function.

    Args:
        data: The whole file: two zero bytes, type, number of axes, sizes, numbers (big-endian).
        name: What the bytes are called in an error message.

    Shape:
        As the header says, 1 to 4 axes, each of size 1 or more.

    Raises:
        DataError: If the bytes are anything else than one whole IDX file.

    Example:
        >>> from mlpkit.data import decode_idx
        >>> decode_idx(bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6]))
        tensor([[1, 2, 3],
                [4, 5, 6]], dtype=torch.uint8)

    References:
        LeCun, Cortes and Burges, "The MNIST database of handwritten digits", section "The IDX
        file format".
    """
    return _decode(io.BytesIO(data), len(data), 1, name, Expected())[0]


def read_idx(
    path: str | os.PathLike[str],
    *,
    shape: Sequence[int | None] | None = None,
    dtype: torch.dtype | None = None,
    sha256: str | None = None,
) -> Tensor:
    """Read an IDX file, plain or gzipped, whatever its name ends in.

    The header is judged before memory is allocated, what is unpacked is capped by the size that
    the header declares, and the digest is taken of the very bytes that are returned: a file that
    changes while it is read is refused. Memory use stays below twice the unpacked size.

    Args:
        path: The file; anything but a regular file (a folder, a pipe, a device) is refused.
        shape: Size that each axis must have; None in the place of one that is free. None: any.
        dtype: Type that the numbers must have. None: any.
        sha256: Digest that the unpacked bytes must have, in hexadecimal of either case. None: any.

    Shape:
        As the header says, 1 to 4 axes, each of size 1 or more.

    Raises:
        DataError: If the file cannot be read, is damaged, or is not what was expected; the message
            names the file, what was expected, what was found and what to do.

    Example:
        >>> import tempfile, torch
        >>> from pathlib import Path
        >>> from mlpkit.data import read_idx, write_idx
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_idx(Path(folder) / "labels.gz", torch.tensor([5, 0, 4]).byte())
        ...     read_idx(path, shape=(None,))
        tensor([5, 0, 4], dtype=torch.uint8)
    """
    axes = None if shape is None else tuple(shape)
    wanted = None if sha256 is None else sha256.lower()
    waiver = "leave sha256 out only for a file of your own"
    return read_expected(path, Expected(shape=axes, dtype=dtype, sha256=wanted, waiver=waiver))


def read_expected(
    path: str | os.PathLike[str], expected: Expected, *, name: str | None = None
) -> Tensor:
    """Read an IDX file that must be what is expected; see :func:`read_idx`.

    Args:
        path: The file.
        expected: What is known of it.
        name: What it is called in an error message; None: by its path.
    """
    name = os.fspath(path) if name is None else name
    if "\0" in os.fsdecode(path):
        raise IdxError(repr(name), "a path without a null byte", "one", "check the path")
    try:
        descriptor = os.open(path, os.O_RDONLY | _NONBLOCK | _BINARY)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise IdxError(name, "a regular file", _kind(status.st_mode), "name the file itself")
        with io.FileIO(descriptor) as file:
            return _read_open(file, status.st_size, name, expected)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        found = f"damaged gzip data ({error})"
        raise IdxError(name, "a whole IDX file, plain or gzipped", found, _RENEW) from error
    except OSError as error:
        found = error.strerror or str(error)
        cure = "check the path and its permissions"
        raise IdxError(name, "a file that can be read", found, cure) from error


def _read_open(file: io.FileIO, size: int, name: str, expected: Expected) -> Tensor:
    """Decode an open file after a look at its first two bytes."""
    packed = file.read(2) == _GZIP_MAGIC
    file.seek(0)
    hashed = expected.archive_sha256 is not None or expected.foreign
    archive = _HashingFile(file, hashlib.sha256() if hashed else None)
    if not packed:
        tensor, _ = _decode(archive, size, 1, name, expected)
        if expected.archive_sha256 is not None:
            cure = "put the published archive beside it, or pass verify=False"
            raise IdxError(name, "gzipped, for only then its digest is known", "a plain file", cure)
        return tensor
    with gzip.GzipFile(fileobj=archive, mode="rb") as unpacked:
        try:
            tensor, sha256 = _decode(unpacked, size, _MAX_RATIO, name, expected)
        except DigestError as error:
            if archive.hexdigest in expected.foreign:
                raise ForeignError(name) from error
            raise
    found = archive.hexdigest
    if found in expected.foreign:
        raise ForeignError(name)
    if found is not None and expected.archive_sha256 not in (None, found):
        wanted = f"archive has SHA-256 {expected.archive_sha256}"
        raise DigestError(name, wanted, found, sha256, expected.waiver)
    return tensor


class _HashingFile:
    """A file that hashes what is read from it, in passing."""

    def __init__(self, file: io.FileIO, digest: hashlib._Hash | None) -> None:
        self._file = file
        self._digest = digest

    def read(self, size: int) -> bytes:
        chunk = self._file.read(size)
        if self._digest is not None:
            self._digest.update(chunk)
        return chunk

    def readinto(self, buffer: memoryview, /) -> int:
        return self._file.readinto(buffer)

    def seek(self, offset: int) -> int:
        raise io.UnsupportedOperation(f"seek to {offset}: the bytes are hashed in passing")

    @property
    def hexdigest(self) -> str | None:
        return None if self._digest is None else self._digest.hexdigest()


def _decode(
    source: _Source, size: int, ratio: int, name: str, expected: Expected
) -> tuple[Tensor, str]:
    """Return the numbers and the digest of all bytes, of a file that unpacks up to ``ratio``."""
    digest = hashlib.sha256()
    head = _exactly(source, 4, name, "the 4 bytes that begin a header")
    stored, dtype, axes = _judged_start(head, name)
    sizes = _exactly(source, 4 * axes, name, f"a header of {4 + 4 * axes} bytes")
    shape = tuple(int.from_bytes(sizes[at : at + 4], "big") for at in range(0, 4 * axes, 4))
    _judge_shape(shape, dtype, name, expected)
    declared = 4 + 4 * axes + math.prod(shape) * stored.itemsize  # Python integers: no overflow
    if ratio == 1 and size != declared:
        raise IdxError(name, f"{declared} bytes long for shape {shape}", f"{size} bytes", _RENEW)
    if declared > (size + 1) * ratio:
        rule = f"at least {declared // ratio} bytes long for shape {shape}"
        raise IdxError(name, rule, f"{size} bytes", _RENEW)
    try:
        array = np.empty(shape, stored)
    except MemoryError as error:
        found = f"{declared} bytes for shape {shape}"
        cure = "a header that claims so much is most likely damaged"
        raise IdxError(name, "an IDX file that fits into memory", found, cure) from error
    numbers = array.reshape(-1).view(np.uint8).data
    digest.update(head + sizes)
    filled = _fill(source, numbers, digest)
    beyond = source.readinto(memoryview(bytearray(1)))  # also makes gzip check its own checksum
    if filled < len(numbers) or beyond:
        found = f"only {declared - len(numbers) + filled}" if not beyond else "more"
        raise IdxError(name, f"{declared} bytes unpacked for shape {shape}", found, _RENEW)
    sha256 = digest.hexdigest()
    if sha256 in expected.foreign:
        raise ForeignError(name)
    if expected.sha256 not in (None, sha256):
        wanted = f"unpacked bytes have SHA-256 {expected.sha256}"
        raise DigestError(name, wanted, sha256, sha256, expected.waiver)
    return torch.from_numpy(_native(array)), sha256


def _judged_start(head: bytes, name: str) -> tuple[np.dtype[np.generic], torch.dtype, int]:
    """Return how the numbers are stored, their type, and how many axes there are."""
    if head[:2] != b"\0\0":
        found = f"{head!r}"
        if head.lstrip()[:1] == b"<":
            found += " (a web page: a proxy or a server answered with a message)"
        raise IdxError(name, "an IDX file, which begins with two zero bytes", found, _RENEW)
    if head[2] not in STORED:
        known = ", ".join(f"0x{byte:02x}" for byte in STORED)
        found = f"0x{head[2]:02x}"
        raise IdxError(name, f"an IDX file with one of the types {known}", found, _RENEW)
    if not 1 <= head[3] <= MAX_AXES:
        raise IdxError(name, f"an IDX file of 1 to {MAX_AXES} axes", f"{head[3]}", _RENEW)
    stored, dtype = STORED[head[2]]
    return np.dtype(stored), dtype, head[3]


def _judge_shape(shape: tuple[int, ...], dtype: torch.dtype, name: str, expected: Expected) -> None:
    if 0 in shape:
        raise IdxError(name, "an IDX file with no empty axis", f"shape {shape}", _RENEW)
    wanted = expected.shape
    cure = "check that it is the file of that name, and not another of the set"
    if wanted is not None and (
        len(wanted) != len(shape)
        or any(size not in (None, got) for size, got in zip(wanted, shape, strict=True))
    ):
        shown = f"({', '.join('N' if size is None else str(size) for size in wanted)}"
        rule = f"of shape {shown}{',' if len(wanted) == 1 else ''})"
        raise IdxError(name, rule, f"shape {shape}", cure)
    if expected.dtype not in (None, dtype):
        raise IdxError(name, f"of type {expected.dtype}", f"{dtype}", cure)


def _exactly(source: _Source, length: int, name: str, rule: str) -> bytes:
    """Return the next bytes of the header, all of them."""
    buffer = bytearray(length)
    filled = _fill(source, memoryview(buffer), None)
    if filled < length:
        found = "an empty file" if not filled and length == 4 else f"only {filled} more bytes"
        raise IdxError(name, f"an IDX file with {rule}", found, _RENEW)
    return bytes(buffer)


def _fill(source: _Source, buffer: memoryview, digest: hashlib._Hash | None) -> int:
    """Read until the buffer is full or the source ends, and return how many bytes came."""
    filled = 0
    while filled < len(buffer):
        came = source.readinto(buffer[filled : filled + _CHUNK])
        if not came:
            break
        if digest is not None:
            digest.update(buffer[filled : filled + came])
        filled += came
    return filled


def _native(array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Return the numbers in the byte order of this machine, without a copy."""
    if sys.byteorder == "little":
        array.byteswap(inplace=True)
    return array.view(array.dtype.newbyteorder("="))


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    return next((word for is_kind, word in kinds if is_kind(mode)), "a device")
