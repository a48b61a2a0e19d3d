"""Checkpoint files: written atomically, verified by a digest, loaded without running code.

Layout of format 1: the output of ``torch.save``, followed by a trailer of 52 bytes::

    payload | magic b"mlpkitcp" | version uint32 | payload length uint64 | SHA-256

Numbers are little-endian; the digest covers all bytes before it. The format has a trailer and not a
header, so that ``torch.load(path, weights_only=True)`` reads the file without mlpkit.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from mlpkit._checks import error_message
from mlpkit._files import make_folder, open_regular, sweep_temporary, write_atomically
from mlpkit._serialization import Saved
from mlpkit.errors import (
    CheckpointCorruptError,
    CheckpointError,
    CheckpointVersionError,
    CheckpointWriteError,
)
from mlpkit.training._config import CheckpointConfig

__all__ = [
    "FORMAT",
    "VERSION",
    "check_folder",
    "existing_checkpoints",
    "first_nonfinite",
    "prepare_folder",
    "read_checkpoint",
    "write_checkpoint",
]

FORMAT = "mlpkit.trainer"
VERSION = 1

_MAGIC = b"mlpkitcp"
_NUMBERS = struct.Struct("<8sIQ")
_DIGEST_BYTES = 32
_TRAILER_BYTES = _NUMBERS.size + _DIGEST_BYTES


def write_checkpoint(path: str | os.PathLike[str], content: Mapping[str, Saved]) -> Path:
    """Write ``content`` as a checkpoint; ``path`` always holds a complete old or new one.

    Raises:
        CheckpointWriteError: If the file cannot be written; an existing file is unchanged.
    """
    buffer = io.BytesIO()
    # Saved to memory first: for a file that fails, torch raises a RuntimeError without the reason.
    torch.save({"format": FORMAT, "version": VERSION, **content}, buffer)
    buffer.write(_NUMBERS.pack(_MAGIC, VERSION, buffer.tell()))
    buffer.write(hashlib.sha256(buffer.getbuffer()).digest())
    try:
        return write_atomically(path, lambda file: file.write(buffer.getbuffer()))
    except OSError as error:
        raise CheckpointWriteError(
            f"{path} could not be written: {error}; an existing checkpoint there is unchanged"
        ) from error


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Saved]:
    """Verify a checkpoint, and return its content on the CPU.

    Raises:
        CheckpointCorruptError: If the file is truncated, altered, not a checkpoint, or contains
            something other than tensors and plain values.
        CheckpointVersionError: If the version of the format is not supported.
        CheckpointError: If the file cannot be read.
    """
    try:
        with open_regular(path) as file:
            data = file.read()
    except OSError as error:
        raise CheckpointError(f"{path} could not be read: {error}") from error
    version, payload = _checked(path, data)
    if version != VERSION:
        raise CheckpointVersionError(
            f"{path} must be a checkpoint of format {VERSION}, got format {version}; "
            "read it with the version of mlpkit that wrote it"
        )
    try:
        content = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise CheckpointCorruptError(
            f"{path} must hold tensors and plain values only, got: {error}"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointCorruptError(
            f"{path} must be a checkpoint of format {FORMAT}, got another file"
        )
    return content


def _checked(path: str | os.PathLike[str], data: bytes) -> tuple[int, memoryview]:
    """Return version and payload, after comparing the digest of the file with the stored one."""
    view = memoryview(data)
    if len(data) < _TRAILER_BYTES:
        raise CheckpointCorruptError(
            f"{path} must be a complete checkpoint, got {len(data)} bytes; it is truncated"
        )
    magic, version, length = _NUMBERS.unpack(view[-_TRAILER_BYTES:-_DIGEST_BYTES])
    if magic != _MAGIC or length != len(data) - _TRAILER_BYTES:
        raise CheckpointCorruptError(
            f"{path} must end with the trailer of a checkpoint, got other bytes; "
            "it is truncated, altered, or not a checkpoint of mlpkit"
        )
    if hashlib.sha256(view[:-_DIGEST_BYTES]).digest() != view[-_DIGEST_BYTES:]:
        raise CheckpointCorruptError(
            f"{path} must have the SHA-256 in its trailer, got another one; it was altered"
        )
    return version, view[:-_TRAILER_BYTES]


def first_nonfinite(content: object, name: str = "") -> str | None:
    """Return the dotted name of the first value in ``content`` that is NaN or infinite.

    Raises:
        TypeError: If a value is neither a tensor nor a plain value. It could be written, but not
            be loaded without running code.
    """
    for key, tensor in _numbers(content, name):
        if not bool(torch.isfinite(tensor).all()):
            return key
    return None


def _numbers(content: object, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(content, Tensor):
        if content.is_floating_point() or content.is_complex():
            yield name, content
    elif isinstance(content, float):
        yield name, torch.tensor(content, dtype=torch.float64)
    elif isinstance(content, Mapping):
        for key, value in content.items():
            yield from _numbers(value, f"{name}.{key}" if name else str(key))
    elif isinstance(content, list | tuple):
        for index, value in enumerate(content):
            yield from _numbers(value, f"{name}.{index}")
    elif content is not None and not isinstance(content, bool | int | str):
        rule = "a tensor or a plain value in a checkpoint"
        raise TypeError(
            error_message(name, rule, content, "save it as numbers, strings or tensors")
        )


def existing_checkpoints(config: CheckpointConfig) -> list[Path]:
    """Return the checkpoints that the folder holds."""
    return [path for path in (config.last, config.best) if path.exists()]


def check_folder(config: CheckpointConfig) -> None:
    """Raise if a new run would replace the checkpoints of an earlier one without ``overwrite``.

    Raises:
        ValueError: If the folder holds checkpoints.
    """
    existing = existing_checkpoints(config)
    if existing and not config.overwrite:
        rule = "a folder without checkpoints of an earlier run"
        cure = 'resume with resume="auto", choose another folder, or set overwrite=True'
        raise ValueError(error_message("checkpoints.folder", rule, str(existing[0]), cure))


def prepare_folder(config: CheckpointConfig) -> None:
    """Create the folder, and remove the temporary files of killed writers; checkpoints stay.

    Raises:
        CheckpointWriteError: If the folder cannot be created or read.
    """
    try:
        make_folder(config.folder)
        sweep_temporary(config.folder)
    except OSError as error:
        raise CheckpointWriteError(f"{config.folder} could not be prepared: {error}") from error
