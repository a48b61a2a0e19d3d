"""Checkpoints: file format, run fingerprint, random stream, save and restore."""

from __future__ import annotations

from mlpkit.training.checkpoints._checkpointer import Checkpointer, saved_config
from mlpkit.training.checkpoints._file_format import (
    check_folder,
    existing_checkpoints,
    prepare_folder,
    read_checkpoint,
)
from mlpkit.training.checkpoints._random_stream import RandomStream

__all__ = [
    "Checkpointer",
    "RandomStream",
    "check_folder",
    "existing_checkpoints",
    "prepare_folder",
    "read_checkpoint",
    "saved_config",
]
