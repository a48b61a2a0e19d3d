"""Data sets in memory, tables, reproducible batches, and augmentation of images."""

from __future__ import annotations

from mlpkit._protocols import Batch
from mlpkit.data._avg_pool import avg_pool
from mlpkit.data._batches import Batches
from mlpkit.data._file_source import FileSource
from mlpkit.data._labeled_tensors import LabeledTensors
from mlpkit.data.augment import (
    AffineParameters,
    Augmentation,
    Compose,
    RandomAffine,
    RandomElastic,
    RandomErasing,
    Rectangles,
    uniform_draws,
)
from mlpkit.data.images import center_digit, contact_sheet
from mlpkit.data.sets import (
    DataFile,
    DatasetName,
    EmnistSplit,
    SetInfo,
    Splits,
    decode_idx,
    digits,
    emnist,
    encode_idx,
    fashion_mnist,
    info,
    kmnist,
    load,
    mnist,
    qmnist,
    read_idx,
    write_idx,
)
from mlpkit.data.tables import CategoryEncoding, Frame, TableEncoder, TableTarget, TargetTask

__all__ = [
    "AffineParameters",
    "Augmentation",
    "Batch",
    "Batches",
    "CategoryEncoding",
    "Compose",
    "DataFile",
    "DatasetName",
    "EmnistSplit",
    "FileSource",
    "Frame",
    "LabeledTensors",
    "RandomAffine",
    "RandomElastic",
    "RandomErasing",
    "Rectangles",
    "SetInfo",
    "Splits",
    "TableEncoder",
    "TableTarget",
    "TargetTask",
    "avg_pool",
    "center_digit",
    "contact_sheet",
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
    "uniform_draws",
    "write_idx",
]
