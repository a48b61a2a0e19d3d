"""Checkpoints: file format, run fingerprint, random stream, save and restore."""

from __future__ import annotations

from mlpkit.training.checkpoints._checkpoint import Checkpoint, load_checkpoint
from mlpkit.training.checkpoints._checkpointer import Checkpointer, saved_config
from mlpkit.training.checkpoints._file_format import (
    check_folder,
    existing_checkpoints,
    prepare_folder,
    read_checkpoint,
)
from mlpkit.training.checkpoints._initial_state import load_initial_state
from mlpkit.training.checkpoints._random_stream import RandomStream

__all__ = [
    "Checkpoint",
    "Checkpointer",
    "RandomStream",
    "check_folder",
    "existing_checkpoints",
    "load_checkpoint",
    "load_initial_state",
    "prepare_folder",
    "read_checkpoint",
    "saved_config",
]
