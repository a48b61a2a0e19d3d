"""Standard image data sets by name, their catalog, and the IDX file format."""

from __future__ import annotations

from mlpkit.data.sets._catalog import DataFile, DatasetName, EmnistSplit, SetInfo, info
from mlpkit.data.sets._idx import decode_idx, read_idx
from mlpkit.data.sets._idx_write import encode_idx, write_idx
from mlpkit.data.sets._sets import (
    Splits,
    digits,
    emnist,
    fashion_mnist,
    kmnist,
    load,
    mnist,
    qmnist,
)

__all__ = [
    "DataFile",
    "DatasetName",
    "EmnistSplit",
    "SetInfo",
    "Splits",
    "decode_idx",
    "digits",
    "emnist",
    "encode_idx",
    "fashion_mnist",
    "info",
    "kmnist",
    "load",
    "mnist",
    "qmnist",
    "read_idx",
    "write_idx",
]
