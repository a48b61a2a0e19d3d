"""Writing of tensors in the IDX format of the MNIST family."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from torch import Tensor

from mlpkit._checks import error_message
from mlpkit._files import write_atomically
from mlpkit.data.sets._idx import MAX_NDIM, STORED

_TYPE_BYTES = {dtype: byte for byte, (_, dtype) in STORED.items()}


def encode_idx(tensor: Tensor) -> bytes:
    """Return a tensor as the bytes of an uncompressed IDX file, the inverse of :func:`decode_idx`.

    Args:
        tensor: Tensor of dtype uint8, int8, int16, int32, float32 or float64, on any device.

    Shape:
        1 to 4 dimensions, each of size 1 or more.

    Raises:
        TypeError: If the IDX format does not support the dtype.
        ValueError: If the IDX format does not support the shape.

    Example:
        >>> import torch
        >>> from mlpkit.data import encode_idx
        >>> encode_idx(torch.tensor([1, 2], dtype=torch.int16)).hex(" ")
        '00 00 0b 01 00 00 00 02 00 01 00 02'
    """
    header, numbers = _encode(tensor)
    return header + numbers.tobytes()


def write_idx(path: str | os.PathLike[str], tensor: Tensor) -> Path:
    """Write a tensor to an IDX file atomically and return the path.

    Args:
        path: Path of the file. If the name ends in ``.gz``, the file is compressed; the same tensor
            always gives the same bytes.
        tensor: Tensor as in :func:`encode_idx`.

    Raises:
        TypeError: If the IDX format does not support the dtype.
        ValueError: If the IDX format does not support the shape.
        OSError: If the file cannot be written; an existing file is then unchanged.
    """
    header, numbers = _encode(tensor)

    def write(file: BinaryIO) -> None:
        if not os.fspath(path).endswith(".gz"):
            file.write(header)
            file.write(numbers.data)
            return
        with gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as compressed:
            compressed.write(header)
            compressed.write(numbers.data)

    return write_atomically(path, write)


def _encode(tensor: Tensor) -> tuple[bytes, npt.NDArray[np.generic]]:
    """Return the header and the big-endian numbers in file order."""
    if not isinstance(tensor, Tensor):
        raise TypeError(error_message("tensor", "a tensor", type(tensor)))
    if tensor.dtype not in _TYPE_BYTES:
        known = ", ".join(str(dtype).removeprefix("torch.") for dtype in _TYPE_BYTES)
        cure = "convert it with tensor.to(...)"
        raise TypeError(
            error_message("tensor", f"of one of the dtypes {known}", tensor.dtype, cure)
        )
    shape = tuple(tensor.shape)
    if not 1 <= len(shape) <= MAX_NDIM or 0 in shape or max(shape) >= 2**32:
        rule = f"of 1 to {MAX_NDIM} dimensions, each of size 1 or more"
        raise ValueError(error_message("tensor", rule, shape))
    byte = _TYPE_BYTES[tensor.dtype]
    header = bytes([0, 0, byte, len(shape)])
    header += b"".join(size.to_bytes(4, "big") for size in shape)
    array = tensor.detach().cpu().contiguous().numpy()
    return header, array.astype(STORED[byte][0], copy=False)
