"""Tensors to files in the IDX format of the MNIST family."""

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
from mlpkit.data.sets._idx import MAX_AXES, STORED

_TYPE_BYTES = {dtype: byte for byte, (_, dtype) in STORED.items()}


def encode_idx(tensor: Tensor) -> bytes:
    """Turn a tensor into the bytes of an unpacked IDX file, the inverse of :func:`decode_idx`.

    Args:
        tensor: Of type uint8, int8, int16, int32, float32 or float64, on any device.

    Shape:
        1 to 4 axes, each of size 1 or more.

    Raises:
        TypeError: If IDX has no such type.
        ValueError: If the shape does not fit.

    Example:
        >>> import torch
        >>> from mlpkit.data import encode_idx
        >>> encode_idx(torch.tensor([1, 2], dtype=torch.int16)).hex(" ")
        '00 00 0b 01 00 00 00 02 00 01 00 02'
    """
    header, numbers = _encoded(tensor)
    return header + numbers.tobytes()


def write_idx(path: str | os.PathLike[str], tensor: Tensor) -> Path:
    """Write a tensor as an IDX file, whole or not at all, and return the path.

    Args:
        path: Where to; gzipped where the name ends in ``.gz``, always to the same bytes.
        tensor: As in :func:`encode_idx`.

    Raises:
        TypeError: If IDX has no such type.
        ValueError: If the shape does not fit.
        OSError: If the file cannot be written; an old one is untouched.
    """
    header, numbers = _encoded(tensor)

    def write(file: BinaryIO) -> None:
        if not os.fspath(path).endswith(".gz"):
            file.write(header)
            file.write(numbers.data)
            return
        with gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed:
            packed.write(header)
            packed.write(numbers.data)

    return write_atomically(path, write)


def _encoded(tensor: Tensor) -> tuple[bytes, npt.NDArray[np.generic]]:
    """Return the header, and the numbers in the order of the file."""
    if not isinstance(tensor, Tensor):
        raise TypeError(error_message("tensor", "a tensor", type(tensor)))
    if tensor.dtype not in _TYPE_BYTES:
        known = ", ".join(str(dtype).removeprefix("torch.") for dtype in _TYPE_BYTES)
        cure = "convert it by tensor.to(...)"
        raise TypeError(error_message("tensor", f"of one of the types {known}", tensor.dtype, cure))
    shape = tuple(tensor.shape)
    if not 1 <= len(shape) <= MAX_AXES or 0 in shape or max(shape) >= 2**32:
        rule = f"of 1 to {MAX_AXES} axes, each of size 1 or more"
        raise ValueError(error_message("tensor", rule, shape))
    byte = _TYPE_BYTES[tensor.dtype]
    header = bytes([0, 0, byte, len(shape)])
    header += b"".join(size.to_bytes(4, "big") for size in shape)
    array = tensor.detach().cpu().contiguous().numpy()
    return header, array.astype(STORED[byte][0], copy=False)
