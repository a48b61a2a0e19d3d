"""Todo."""

from __future__ import annotations

from mlpkit.training.checkpoints._file_format import (
    Saved,
    first_nonfinite,
    prepare_folder,
    read_checkpoint,
    write_checkpoint,
)
from mlpkit.training.checkpoints._fingerprint import (
    check_same,
    identity,
    normalize_reprs,
    settings,
)
from mlpkit.training.checkpoints._random_stream import RandomStream

__all__ = [
    "RandomStream",
    "Saved",
    "check_same",
    "first_nonfinite",
    "identity",
    "normalize_reprs",
    "prepare_folder",
    "read_checkpoint",
    "settings",
    "write_checkpoint",
]
