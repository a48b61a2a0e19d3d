"""Data sets in memory, checked byte by byte, and batches of them."""

from __future__ import annotations

from mlpkit.data._batches import Batch, Batches
from mlpkit.data._catalog import DataFile, DatasetName, EmnistSplit, SetInfo, info
from mlpkit.data._idx import decode_idx, read_idx
from mlpkit.data._idx_write import encode_idx, write_idx
from mlpkit.data._labeled import LabeledTensors
from mlpkit.data._sets import (
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
    "Batch",
    "Batches",
    "DataFile",
    "DatasetName",
    "EmnistSplit",
    "LabeledTensors",
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
