"""Data sets in memory, checked byte by byte, and batches of them."""

from __future__ import annotations

from mlpkit.data._augment import Augmentation, uniform_draws
from mlpkit.data._avg_pool import avg_pool
from mlpkit.data._batches import Batch, Batches
from mlpkit.data._catalog import DataFile, DatasetName, EmnistSplit, SetInfo, info
from mlpkit.data._compose import Compose
from mlpkit.data._contact_sheet import contact_sheet
from mlpkit.data._idx import decode_idx, read_idx
from mlpkit.data._idx_write import encode_idx, write_idx
from mlpkit.data._images import center_digit
from mlpkit.data._labeled import LabeledTensors
from mlpkit.data._random_affine import AffineParameters, RandomAffine
from mlpkit.data._random_elastic import RandomElastic
from mlpkit.data._random_erasing import RandomErasing, Rectangles
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
    "AffineParameters",
    "Augmentation",
    "Batch",
    "Batches",
    "Compose",
    "DataFile",
    "DatasetName",
    "EmnistSplit",
    "LabeledTensors",
    "RandomAffine",
    "RandomElastic",
    "RandomErasing",
    "Rectangles",
    "SetInfo",
    "Splits",
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
