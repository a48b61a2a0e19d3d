"""Writing IDX files: the bytes of the format, atomic files, and round trips."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlpkit.data import decode_idx, encode_idx, read_idx, write_idx

TYPES = {
    torch.uint8: (0x08, ">u1"),
    torch.int8: (0x09, ">i1"),
    torch.int16: (0x0B, ">i2"),
    torch.int32: (0x0C, ">i4"),
    torch.float32: (0x0D, ">f4"),
    torch.float64: (0x0E, ">f8"),
}


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_the_bytes_are_those_of_the_format(dtype: torch.dtype) -> None:
    """The oracle is a header by hand and NumPy's big-endian numbers."""
    byte, stored = TYPES[dtype]
    numbers = np.array([[0, 1, 2], [100, 101, 127]])
    expected = bytes([0, 0, byte, 2, 0, 0, 0, 2, 0, 0, 0, 3]) + numbers.astype(stored).tobytes()
    assert encode_idx(torch.from_numpy(numbers).to(dtype)) == expected


@pytest.mark.parametrize("name", ["file", "file.gz"])
@pytest.mark.parametrize("dtype", TYPES, ids=str)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_round_trip(name: str, dtype: torch.dtype, data: st.DataObject) -> None:
    """Any numbers of any dtype, including NaN, are read back bit for bit."""
    shapes = hnp.array_shapes(min_dims=1, max_dims=4, max_side=5)
    stored = np.dtype(TYPES[dtype][1]).newbyteorder("=")
    array = data.draw(hnp.arrays(stored, shapes))
    with tempfile.TemporaryDirectory() as folder:
        path = write_idx(Path(folder) / name, torch.from_numpy(array))
        read = read_idx(path, shape=array.shape, dtype=dtype)
    assert read.numpy().tobytes() == array.tobytes()


def test_a_view_is_written_in_row_major_order() -> None:
    """A transposed tensor is read back equal."""
    tensor = torch.arange(12, dtype=torch.int16).reshape(3, 4).T
    assert torch.equal(decode_idx(encode_idx(tensor)), tensor)


def test_compression_is_deterministic(tmp_path: Path) -> None:
    """The archive holds neither a time nor a file name."""
    tensor = torch.zeros(100, 28, 28, dtype=torch.uint8)
    first, second = (write_idx(tmp_path / name, tensor) for name in ("a.gz", "b.gz"))
    assert first.read_bytes() == second.read_bytes()
    assert gzip.decompress(first.read_bytes()) == encode_idx(tensor)
    assert first.stat().st_size < 1000


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.bfloat16, torch.float16])
def test_a_type_that_idx_does_not_have_is_refused(dtype: torch.dtype, tmp_path: Path) -> None:
    """The dtype is not converted silently, and no file remains."""
    with pytest.raises(TypeError, match=f"tensor must be of one of the dtypes .*, got {dtype}"):
        write_idx(tmp_path / "file", torch.ones(3, dtype=dtype))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (1, 1, 1, 1, 1)])
def test_a_shape_that_idx_does_not_have_is_refused(shape: tuple[int, ...]) -> None:
    """No dimensions, empty dimensions, too many dimensions."""
    with pytest.raises(ValueError, match="tensor must be of 1 to 4 dimensions, each of size 1 or"):
        encode_idx(torch.ones(shape, dtype=torch.uint8))
