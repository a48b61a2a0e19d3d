"""Reading of the 1,797 digits that are embedded in the package."""

from __future__ import annotations

import hashlib
import io
from importlib.resources import files

import numpy as np
import torch
from torch import Tensor

from mlpkit.errors import DataError

_FILE = "digits.npz"
_SHA256 = "b2dab7b501728c22e9119ad76740b2e17c77a231e42d1e592380d90886f1a05e"


def read_digits() -> tuple[Tensor, Tensor]:
    """Return the images, uint8 in [0, 16] of shape (1797, 8, 8), and the labels, int64."""
    resource = files("mlpkit.data.sets") / _FILE
    content = resource.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != _SHA256:
        raise DataError(
            f"{resource} must be the file distributed with mlpkit, with SHA-256 {_SHA256}, "
            f"got {found}; reinstall mlpkit"
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"]).long()
