"""Data sets in memory, checked byte by byte, and batches of them."""

from __future__ import annotations

from mlpkit.data._batches import Batch, Batches
from mlpkit.data._catalog import DataFile, DatasetName, EmnistSplit, SetInfo, info
from mlpkit.data._idx import decode_idx, encode_idx, read_idx, write_idx
from mlpkit.data._labeled import LabeledTensors
from mlpkit.data._sets import Splits, digits, fashion_mnist, load, mnist

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
    "encode_idx",
    "fashion_mnist",
    "info",
    "load",
    "mnist",
    "read_idx",
    "write_idx",
]
