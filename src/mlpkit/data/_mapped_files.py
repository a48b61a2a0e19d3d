"""Examples in files: a folder of NumPy's .npy files, or one safetensors file."""

from __future__ import annotations

import json
import math
import mmap
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tokenize import TokenError
from types import MappingProxyType
from typing import BinaryIO, Final, NamedTuple, cast

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mlpkit._checks import Unquoted, error_message
from mlpkit._files import check_regular, open_regular, printable, write_atomically
from mlpkit.data._chunks import chunks, content
from mlpkit.data._mapped_inputs import MappedInputs
from mlpkit.errors import DataError

__all__ = ["StoredExamples", "file_stamps", "map_examples", "write_examples"]

_REQUIRED: Final = ("inputs", "targets")
_NAMES: Final = (*_REQUIRED, "weights")
_CLASSES_FILE: Final = "classes.json"
_LAYOUT: Final = "a safetensors file, or a folder with inputs.npy and targets.npy"
# Without it, Linux refuses a private mapping that is larger than the memory. Python has a name for
# it from 3.13 on; this is its value on x86-64 and ARM.
_NORESERVE: int = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)
_ALIGNMENT: Final = 64  # of the data in a file, as in .npy files
_WRITTEN_BYTES: Final = 2**24  # at once
_SAFETENSORS_DTYPES: Mapping[str, torch.dtype] = MappingProxyType(
    {
        "BOOL": torch.bool,
        "U8": torch.uint8,
        "I8": torch.int8,
        "U16": torch.uint16,
        "I16": torch.int16,
        "U32": torch.uint32,
        "I32": torch.int32,
        "U64": torch.uint64,
        "I64": torch.int64,
        "F16": torch.float16,
        "BF16": torch.bfloat16,
        "F32": torch.float32,
        "F64": torch.float64,
    }
)
_NUMPY_DTYPES: Mapping[str, torch.dtype] = MappingProxyType(
    {str(dtype).removeprefix("torch."): dtype for dtype in _SAFETENSORS_DTYPES.values()}
)


class StoredExamples(NamedTuple):
    """The content of the files of a data set.

    Attributes:
        inputs: Inputs, mapped.
        targets: Targets, mapped.
        weights: Weights, mapped; None without them.
        classes: The value of the class names as JSON; None without them.
        encoder: The encoder of a table, as JSON text; None without one.
    """

    inputs: Tensor
    targets: Tensor
    weights: Tensor | None
    classes: object
    encoder: str | None


def map_examples(path: Path) -> StoredExamples:
    """Return the tensors of a safetensors file, or of a folder of .npy files, without reading them.

    Raises:
        DataError: If the files are none of these, are damaged, or hold other arrays.
    """
    try:
        if path.is_dir():
            return _map_folder(path)
        check_regular(path)
        return _map_safetensors(path)
    except OSError as error:
        raise DataError(
            error_message(printable(path), _LAYOUT, Unquoted(f"an error: {error}"))
        ) from error


def file_stamps(path: Path) -> tuple[tuple[str, int, int], ...]:
    """Return the name, the size and the time of change of each file of a data set that exists."""
    names = (*(f"{name}.npy" for name in _NAMES), _CLASSES_FILE)
    files = [path / name for name in names] if path.is_dir() else [path]
    stats = {file.name: file.stat() for file in files if file.exists()}
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats.items())


def _map_folder(folder: Path) -> StoredExamples:
    paths = {name: folder / f"{name}.npy" for name in _NAMES}
    missing = [paths[name].name for name in _REQUIRED if not paths[name].exists()]
    if missing:
        found = Unquoted(f"a folder without {' and '.join(missing)}")
        raise DataError(error_message(printable(folder), _LAYOUT, found))
    tensors = {name: _map_npy(path) for name, path in paths.items() if path.exists()}
    names = folder / _CLASSES_FILE
    classes: object = None
    if names.exists():
        with open_regular(names) as file:
            classes = _from_json(file.read(), names)
    return StoredExamples(
        tensors["inputs"], tensors["targets"], tensors.get("weights"), classes, None
    )


def _map_npy(path: Path) -> Tensor:
    check_regular(path)
    try:
        array: np.memmap[tuple[int, ...], np.dtype[np.generic]]
        array = np.lib.format.open_memmap(path, mode="r")  # never a pickle
    except (TypeError, ValueError, OverflowError, SyntaxError, TokenError) as error:
        rule = "a whole .npy file of numbers"
        reason = Unquoted(f"an error: {str(error).partition(chr(10))[0]}")
        raise DataError(error_message(printable(path), rule, reason)) from error
    dtype = _NUMPY_DTYPES.get(array.dtype.name)
    if dtype is None:
        is_text = array.dtype.kind in "US"
        cure = "save class indices, and their names in classes.json" if is_text else None
        raise DataError(error_message(printable(path), "an array of numbers", array.dtype, cure))
    if not array.dtype.isnative:
        cure = 'save array.astype(array.dtype.newbyteorder("="))'
        rule = "in the byte order of this machine"
        raise DataError(error_message(printable(path), rule, array.dtype.str, cure))
    if not array.flags.c_contiguous:
        rule, cure = "in C order", "save np.ascontiguousarray(array)"
        raise DataError(error_message(printable(path), rule, Unquoted("Fortran order"), cure))
    return _mapped_tensor(_map(path), path, dtype, array.shape, array.offset)


def _map_safetensors(path: Path) -> StoredExamples:
    try:
        # With "pt" it reserves memory for all tensors. It says that a file does not exist if it may
        # not be read, so the file is opened before.
        with open_regular(path) as raw, safe_open(path, "np") as file:
            metadata: Mapping[str, str] = file.metadata() or {}
            length = int.from_bytes(raw.read(8), "little")
            header = cast("dict[str, dict[str, object]]", json.loads(raw.read(length)))
    except (SafetensorError, ValueError, RecursionError) as error:
        found = Unquoted(f"an error: {error}")
        raise DataError(error_message(printable(path), f"whole, {_LAYOUT}", found)) from error
    header.pop("__metadata__", None)
    if not set(_REQUIRED) <= header.keys() <= set(_NAMES):
        rule = "a file with the tensors inputs and targets, and weights if any"
        found = Unquoted(f"the tensors {', '.join(sorted(header))}" if header else "no tensors")
        raise DataError(error_message(printable(path), rule, found))
    buffer, tensors = _map(path), {}
    for name, entry in header.items():
        dtype = _SAFETENSORS_DTYPES.get(str(entry["dtype"]))
        if dtype is None:
            rule = f"a file with numbers in {name}"
            raise DataError(error_message(printable(path), rule, entry["dtype"]))
        shape = cast("Sequence[int]", entry["shape"])
        start, _ = cast("tuple[int, int]", entry["data_offsets"])
        tensors[name] = _mapped_tensor(buffer, path, dtype, shape, 8 + length + start)
    classes = metadata.get("classes")
    return StoredExamples(
        tensors["inputs"],
        tensors["targets"],
        tensors.get("weights"),
        None if classes is None else _from_json(classes, path),
        metadata.get("encoder"),
    )


def _map(path: Path) -> mmap.mmap:
    """Return a private mapping of a file: what is written to its memory does not reach the file."""
    with open_regular(path) as file:
        if sys.platform == "win32":
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        return mmap.mmap(
            file.fileno(),
            0,
            flags=mmap.MAP_PRIVATE | _NORESERVE,
            prot=mmap.PROT_READ | mmap.PROT_WRITE,  # torch warns of memory that is read-only
        )


def _mapped_tensor(
    buffer: mmap.mmap, path: Path, dtype: torch.dtype, shape: Sequence[int], offset: int
) -> Tensor:
    count = math.prod(shape)
    if not count:
        try:
            return torch.empty(tuple(shape), dtype=dtype)
        except (TypeError, RuntimeError) as error:  # a size next to the 0 is too large
            rule = "a file of arrays whose sizes are 64-bit integers"
            raise DataError(error_message(printable(path), rule, tuple(shape))) from error
    if offset % dtype.itemsize:
        rule = f"a file with its numbers at multiples of {dtype.itemsize} bytes"
        cure = "load it with safetensors.torch.load_file and write it with save_file"
        raise DataError(error_message(printable(path), rule, offset, cure))
    return torch.frombuffer(buffer, dtype=dtype, count=count, offset=offset).view(tuple(shape))


def _from_json(text: str | bytes, path: Path) -> object:
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = Unquoted(f"an error: {error}")
        rule = "a file with the class names as a JSON list"
        raise DataError(error_message(printable(path), rule, reason)) from error
    return found


def write_examples(
    path: Path, tensors: Mapping[str, Tensor | MappedInputs], metadata: Mapping[str, str]
) -> Path:
    """Write a safetensors file, a few megabytes at a time."""
    known = {dtype: name for name, dtype in _SAFETENSORS_DTYPES.items()}
    header: dict[str, object] = {"__metadata__": {"format": "pt", **metadata}}
    # The widest numbers first, so that all of them are aligned.
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    end = 0
    for name, tensor in ordered:
        if tensor.dtype not in known:
            rule = "of a dtype that a file of examples can hold"
            raise TypeError(error_message(name, rule, tensor.dtype))
        start, end = end, end + tensor.nbytes
        described = {"dtype": known[tensor.dtype], "shape": list(tensor.shape)}
        header[name] = {**described, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)

    def write(file: BinaryIO) -> None:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, tensor in ordered:
            for part in chunks(tensor, _WRITTEN_BYTES // tensor.dtype.itemsize):
                file.write(content(part))

    return write_atomically(path, write)
