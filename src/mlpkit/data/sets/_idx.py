"""Reading of the IDX format of the MNIST family, with every field validated."""

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

from mlpkit._checks import Unquoted, error_message
from mlpkit._files import file_type
from mlpkit.errors import DataError

# Type byte of the header -> NumPy dtype of the stored numbers (big-endian), torch dtype.
STORED: Mapping[int, tuple[str, torch.dtype]] = {
    0x08: (">u1", torch.uint8),
    0x09: (">i1", torch.int8),
    0x0B: (">i2", torch.int16),
    0x0C: (">i4", torch.int32),
    0x0D: (">f4", torch.float32),
    0x0E: (">f8", torch.float64),
}
MAX_NDIM = 4
_CHUNK = 2**20
_GZIP_MAGIC = b"\x1f\x8b"
_MAX_RATIO = 1032  # deflate encodes at most 258 bytes in 2 bits
_NONBLOCK: int = getattr(os, "O_NONBLOCK", 0)  # opening a FIFO must not wait for a writer
_BINARY: int = getattr(os, "O_BINARY", 0)  # Windows only
_SKIP_HINT = "to read a custom file, pass verify=False"
_REPLACE_HINT = "delete it, and copy or download it again"


class OtherSetError(DataError):
    """A file is a valid IDX file, but its digest is that of a file of another data set."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """The expected properties of an IDX file; None accepts any value.

    Attributes:
        shape: Size of each dimension; None for a dimension of any size.
        dtype: Data type of the numbers.
        sha256: SHA-256 of the decompressed bytes.
        other_sets: Digests of the decompressed bytes of the files of other data sets.
        skip_hint: How to skip the check of the digest, for a note of the error: the command line
            shows no notes, and has no such argument.
    """

    shape: tuple[int | None, ...] | None = None
    dtype: torch.dtype | None = None
    sha256: str | None = None
    other_sets: frozenset[str] = frozenset()
    skip_hint: str = _SKIP_HINT


class _Source(Protocol):
    def readinto(self, buffer: memoryview, /) -> int | None: ...


def decode_idx(data: bytes, *, name: str = "data") -> Tensor:
    """Return the tensor stored in the bytes of an uncompressed IDX file.

    Args:
        data: The complete file: two zero bytes, the type, the number of dimensions, their sizes,
            and the numbers, all in big-endian byte order.
        name: Name of the data in error messages.

    Shape:
        1 to 4 dimensions, each of size 1 or more, as given in the header.

    Raises:
        DataError: If the bytes are not exactly one valid IDX file.

    Example:
        >>> from mlpkit.data import decode_idx
        >>> decode_idx(bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6]))
        tensor([[1, 2, 3],
                [4, 5, 6]], dtype=torch.uint8)

    References:
        LeCun, Cortes and Burges, "The MNIST database of handwritten digits", section "The IDX
        file format".
    """
    return _decode(io.BytesIO(data), len(data), 1, name, Expected())


def read_idx(
    path: str | os.PathLike[str],
    *,
    shape: Sequence[int | None] | None = None,
    dtype: torch.dtype | None = None,
    sha256: str | None = None,
) -> Tensor:
    """Read an IDX file, uncompressed or gzipped; the content decides, not the file name.

    The header is validated before memory is allocated, and decompression stops at the size that the
    header declares. The digest covers exactly the bytes that are returned, so a file that changes
    while it is read is rejected. Memory use stays below twice the uncompressed size.

    Args:
        path: Path of the file. It must be a regular file, not a folder, pipe or device.
        shape: Expected size of each dimension; an entry of None accepts any size. None accepts any
            shape.
        dtype: Expected data type. None accepts any type.
        sha256: Expected SHA-256 of the decompressed bytes, in hexadecimal, upper or lower case.
            None skips the check.

    Shape:
        1 to 4 dimensions, each of size 1 or more, as given in the header.

    Raises:
        DataError: If the file cannot be read, is damaged, or differs from what is expected. The
            message names the file, what was expected, what was found and what to do.

    Example:
        >>> import tempfile, torch
        >>> from pathlib import Path
        >>> from mlpkit.data import read_idx, write_idx
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_idx(Path(folder) / "labels.gz", torch.tensor([5, 0, 4]).byte())
        ...     read_idx(path, shape=(None,))
        tensor([5, 0, 4], dtype=torch.uint8)
    """
    expected = Expected(
        shape=None if shape is None else tuple(shape),
        dtype=dtype,
        sha256=None if sha256 is None else sha256.lower(),
        skip_hint="to read a custom file, omit sha256",
    )
    return read_expected(path, expected)


def read_expected(
    path: str | os.PathLike[str], expected: Expected, *, name: str | None = None
) -> Tensor:
    """Read an IDX file and check that it is as expected; see :func:`read_idx`.

    Args:
        path: Path of the file.
        expected: Expected properties of the file.
        name: Name of the file in error messages; None uses its path.
    """
    name = os.fspath(path) if name is None else name
    if "\0" in os.fsdecode(path):
        raise _error(repr(name), "a path without null bytes", "a null byte", "check the path")
    try:
        descriptor = os.open(path, os.O_RDONLY | _NONBLOCK | _BINARY)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise _error(name, "a regular file", file_type(status.st_mode), "check the path")
        with io.FileIO(descriptor) as file:
            return _read_open(file, status.st_size, name, expected)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        found = f"damaged gzip data ({error})"
        raise _error(name, "a complete IDX file", found) from error
    except OSError as error:
        found = error.strerror or str(error)
        cure = "check the path and its permissions"
        raise _error(name, "a readable file", found, cure) from error


def _read_open(file: io.FileIO, size: int, name: str, expected: Expected) -> Tensor:
    """Decode an open file; its first two bytes tell whether it is gzipped."""
    compressed = file.read(2) == _GZIP_MAGIC
    file.seek(0)
    if not compressed:
        return _decode(file, size, 1, name, expected)
    with gzip.GzipFile(fileobj=file, mode="rb") as decompressed:
        return _decode(decompressed, size, _MAX_RATIO, name, expected)


def _decode(source: _Source, size: int, ratio: int, name: str, expected: Expected) -> Tensor:
    """Return the tensor, after a check of the SHA-256 of all decompressed bytes.

    Args:
        source: The decompressed bytes.
        size: Size of the file in bytes, as stored.
        ratio: Largest possible ratio of decompressed to stored size; 1 for uncompressed files.
        name: Name of the file in error messages.
        expected: Expected properties of the file.
    """
    digest = hashlib.sha256()
    magic = _read_exactly(source, 4, name, "the first 4 bytes of a header")
    stored, dtype, ndim = _parse_magic(magic, name)
    sizes = _read_exactly(source, 4 * ndim, name, f"a header of {4 + 4 * ndim} bytes")
    shape = tuple(int.from_bytes(sizes[at : at + 4], "big") for at in range(0, 4 * ndim, 4))
    _check_shape(shape, dtype, name, expected)
    declared = 4 + 4 * ndim + math.prod(shape) * stored.itemsize  # Python integers do not overflow
    if ratio == 1 and size != declared:
        raise _error(name, f"{declared} bytes long for shape {shape}", f"{size} bytes")
    if declared > (size + 1) * ratio:
        rule = f"at least {declared // ratio} bytes long for shape {shape}"
        raise _error(name, rule, f"{size} bytes")
    try:
        array = np.empty(shape, stored)
    except MemoryError as error:
        found = f"{declared} bytes for shape {shape}"
        cure = "the header is most likely damaged"
        raise _error(name, "an IDX file that fits into memory", found, cure) from error
    numbers = array.reshape(-1).view(np.uint8).data
    digest.update(magic + sizes)
    filled = _fill(source, numbers, digest)
    excess = source.readinto(memoryview(bytearray(1)))  # also makes gzip verify its checksum
    if filled < len(numbers) or excess:
        found = f"only {declared - len(numbers) + filled}" if not excess else "more"
        rule = f"{declared} bytes long when decompressed, for shape {shape}"
        raise _error(name, rule, found)
    sha256 = digest.hexdigest()
    if sha256 in expected.other_sets:
        cure = "keep each data set in a separate folder"
        found = Unquoted("a file of another data set")
        raise OtherSetError(error_message(name, "a file of this data set", found, cure))
    if expected.sha256 not in (None, sha256):
        rule = f"the published file, whose decompressed bytes have SHA-256 {expected.sha256}"
        differing = _error(name, rule, sha256, f"its content differs: {_REPLACE_HINT}")
        differing.add_note(expected.skip_hint)
        raise differing
    return torch.from_numpy(_to_native_order(array))


def _error(name: str, rule: str, found: str, cure: str = _REPLACE_HINT) -> DataError:
    """Return the error for a file that cannot be read or is not as expected."""
    return DataError(error_message(name, rule, Unquoted(found), cure))


def _parse_magic(magic: bytes, name: str) -> tuple[np.dtype[np.generic], torch.dtype, int]:
    """Return the stored NumPy dtype, the torch dtype and the number of dimensions."""
    if magic[:2] != b"\0\0":
        found = f"{magic!r}"
        if magic.lstrip()[:1] == b"<":
            found += " (a web page: a proxy or a server sent a message instead of the file)"
        raise _error(name, "an IDX file, which begins with two zero bytes", found)
    if magic[2] not in STORED:
        known = ", ".join(f"0x{byte:02x}" for byte in STORED)
        found = f"0x{magic[2]:02x}"
        raise _error(name, f"an IDX file with one of the types {known}", found)
    if not 1 <= magic[3] <= MAX_NDIM:
        rule = f"an IDX file of 1 to {MAX_NDIM} dimensions"
        raise _error(name, rule, f"{magic[3]}")
    stored, dtype = STORED[magic[2]]
    return np.dtype(stored), dtype, magic[3]


def _check_shape(shape: tuple[int, ...], dtype: torch.dtype, name: str, expected: Expected) -> None:
    """Check the shape and the type of the header before memory is allocated for them."""
    if 0 in shape:
        rule = "an IDX file without empty dimensions"
        raise _error(name, rule, f"shape {shape}")
    sizes = expected.shape
    cure = "check that it is not another file of the data set under this name"
    if sizes is not None and (
        len(sizes) != len(shape)
        or any(size not in (None, got) for size, got in zip(sizes, shape, strict=True))
    ):
        listed = f"({', '.join('N' if size is None else str(size) for size in sizes)}"
        rule = f"of shape {listed}{',' if len(sizes) == 1 else ''})"
        raise _error(name, rule, f"shape {shape}", cure)
    if expected.dtype not in (None, dtype):
        raise _error(name, f"of type {expected.dtype}", f"{dtype}", cure)


def _read_exactly(source: _Source, length: int, name: str, rule: str) -> bytes:
    """Return the next ``length`` bytes of the header; fewer raise an error that states ``rule``."""
    buffer = bytearray(length)
    filled = _fill(source, memoryview(buffer), None)
    if filled < length:
        found = "an empty file" if not filled and length == 4 else f"only {filled} more bytes"
        raise _error(name, f"an IDX file with {rule}", found)
    return bytes(buffer)


def _fill(source: _Source, buffer: memoryview, digest: hashlib._Hash | None) -> int:
    """Read until the buffer is full or the source ends, and return the number of bytes read."""
    filled = 0
    while filled < len(buffer):
        count = source.readinto(buffer[filled : filled + _CHUNK])
        if not count:
            break
        if digest is not None:
            digest.update(buffer[filled : filled + count])
        filled += count
    return filled


def _to_native_order(array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Convert big-endian numbers to the native byte order in place."""
    if sys.byteorder == "little":
        array.byteswap(inplace=True)
    return array.view(array.dtype.newbyteorder("="))
