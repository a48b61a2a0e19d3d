"""Examples in files: what is read of them, and which files are refused."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mlpkit.data import LabeledTensors
from mlpkit.errors import DataError

DTYPES = (
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.uint16,
    torch.uint32,
    torch.uint64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.bool,
)


def resident(inputs: Tensor | None = None) -> LabeledTensors:
    """Return weighted examples of three classes with names."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(31, 2, 3, generator=generator) if inputs is None else inputs
    weights = torch.rand(len(values), generator=generator)
    return LabeledTensors(values, torch.arange(len(values)) % 3, ("a", "b", "ß"), weights=weights)


def folder_of(data: LabeledTensors, folder: Path) -> Path:
    """Write the folder as NumPy alone would."""
    folder.mkdir()
    np.save(folder / "inputs.npy", data.inputs.numpy())
    np.save(folder / "targets.npy", data.targets.numpy().astype(np.uint8))
    if data.weights is not None:
        np.save(folder / "weights.npy", data.weights.numpy())
    if data.classes is not None:
        (folder / "classes.json").write_text(json.dumps(data.classes))
    return folder


def same(found: LabeledTensors, expected: LabeledTensors) -> bool:
    one, other = found.weights, expected.weights
    has_same_weights = one is other if one is None or other is None else torch.equal(one, other)
    return (
        torch.equal(found.inputs, expected.inputs)
        and found.inputs.dtype == expected.inputs.dtype
        and torch.equal(found.targets, expected.targets)
        and found.targets.dtype == expected.targets.dtype
        and has_same_weights
        and found.classes == expected.classes
        and found.fingerprint == expected.fingerprint
    )


def test_a_folder_has_the_examples_that_numpy_saved(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = LabeledTensors.open(folder_of(resident(), tmp_path / "a"))
    assert data.is_mapped
    assert same(data, resident())
    assert repr(data) == (
        "LabeledTensors(31 examples of float32 (2, 3), 3 classes, weighted, mapped from files)"
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("count", [0, 1, 7])
def test_what_is_saved_is_opened(tmp_path: Path, dtype: torch.dtype, count: int) -> None:
    """Also by safetensors, with an odd number of bytes in a row before wider numbers."""
    inputs = torch.arange(3 * count).view(count, 3).to(dtype)
    data = LabeledTensors(inputs, torch.rand(count, 2), weights=torch.rand(count).double())
    path = data.save(tmp_path / "data.safetensors")
    assert same(LabeledTensors.open(path), data)
    loaded = load_file(path)
    assert torch.equal(loaded["inputs"], data.inputs)
    assert loaded["inputs"].dtype == dtype
    assert torch.equal(loaded["targets"], data.targets)


def test_the_file_of_safetensors_is_opened(tmp_path: Path) -> None:
    data = resident()
    assert data.weights is not None
    tensors = {"inputs": data.inputs, "targets": data.targets, "weights": data.weights}
    save_file(tensors, tmp_path / "x", {"classes": json.dumps(data.classes)})
    assert same(LabeledTensors.open(tmp_path / "x"), data)


def test_a_table_keeps_its_encoder(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [1.0, None, 3.0], "c": ["u", "v", "u"], "y": ["p", "q", "p"]})
    data = LabeledTensors.from_frame(frame, "y")
    opened = LabeledTensors.open(data.save(tmp_path / "x"))
    assert opened.encoder == data.encoder
    assert same(opened, data)
    assert opened.split([2, 1])[1].encoder == data.encoder


def test_a_change_in_place_does_not_reach_the_file(tmp_path: Path) -> None:
    path = folder_of(resident(), tmp_path / "a")
    data = LabeledTensors.open(path)
    data.inputs[3] = 7.0
    assert data[3][0].tolist() == [[7.0] * 3] * 2
    assert same(LabeledTensors.open(path), resident())


def test_an_open_file_may_be_replaced(tmp_path: Path) -> None:
    path = resident().save(tmp_path / "x")
    data = LabeledTensors.open(path)
    assert data[5:9].save(path) == path
    assert same(data, resident())
    assert same(LabeledTensors.open(path), resident()[5:9])


def test_a_file_may_be_larger_than_the_memory(tmp_path: Path) -> None:
    """Linux refuses a private mapping of that size that reserves memory."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    count = 2 * memory // 2**20
    shape = (count, 2**18)
    with (tmp_path / "inputs.npy").open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + count * 2**20)  # nothing is written
    np.save(tmp_path / "targets.npy", np.zeros(count))
    data = LabeledTensors.open(tmp_path)
    assert not data[count - 3][0].any()
    batch = next(data.batches(2).epoch(0))
    assert batch.inputs.shape == (2, 2**18)
    assert len(data.split([0.9, 0.1])[0]) == round(0.9 * count)


def wrong_npy(change: Callable[[Path], object]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder_of(resident(), folder / "a")
        change(path)
        return path

    return write


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-1])
    return path


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "x")
    return folder / "x"


def replaced(name: str, array: object) -> Callable[[Path], Path]:
    return wrong_npy(lambda folder: np.save(folder / name, array))  # type: ignore[arg-type]


def safetensors(
    change: Callable[[dict[str, Tensor]], object], classes: str = '["a", "b"]'
) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        tensors = {"inputs": torch.zeros(4, 2), "targets": torch.tensor([0, 1, 0, 1])}
        change(tensors)
        save_file(tensors, folder / "x", {"classes": classes})
        return folder / "x"

    return write


def bytes_of(content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "x").write_bytes(content)
        return folder / "x"

    return write


def unaligned(folder: Path) -> Path:
    entries = {"inputs": ("U8", [1], [0, 1]), "targets": ("F32", [1], [1, 5])}
    keys = ("dtype", "shape", "data_offsets")
    header = json.dumps({n: dict(zip(keys, e, strict=True)) for n, e in entries.items()}).encode()
    content = len(header).to_bytes(8, "little") + header + bytes(5)
    return bytes_of(content)(folder)


def huge(folder: Path) -> Path:
    inputs = {"dtype": "F32", "shape": [1, 0, 2**64 - 1], "data_offsets": [0, 0]}
    targets = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    header = json.dumps({"inputs": inputs, "targets": targets}).encode()
    header += b" " * (-len(header) % 8)
    return bytes_of(len(header).to_bytes(8, "little") + header + bytes(4))(folder)


def npy_of_shape(shape: str) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
        magic = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
        (folder / "inputs.npy").write_bytes(magic + header.encode() + bytes(64))

    return write


class Evil:
    """What a pickle would call."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("a pickle was loaded",)


WRONG: dict[str, tuple[Callable[[Path], Path], str]] = {
    "nothing": (lambda folder: folder / "x", "must be a safetensors file, or a folder .* No such"),
    "null byte": (lambda folder: folder / "a\0b", "got an error: .* embedded null"),
    "no inputs": (wrong_npy(lambda a: (a / "inputs.npy").unlink()), "a folder without inputs.npy"),
    "pipe": (pipe, "not a regular file but a pipe"),
    "cut": (wrong_npy(lambda a: cut(a / "inputs.npy")), "inputs.npy must be a whole .npy file"),
    "empty": (
        wrong_npy(lambda a: (a / "targets.npy").write_bytes(b"")),
        "targets.npy must be a whole .npy file",
    ),
    "objects": (
        replaced("targets.npy", np.array([Evil()], dtype=object)),
        "targets.npy must be a whole .npy file of numbers, got an error: Array can't be",
    ),
    "pickle": (
        wrong_npy(lambda a: (a / "targets.npy").write_bytes(pickle.dumps(Evil()))),
        "targets.npy must be a whole .npy file",
    ),
    "names": (
        replaced("targets.npy", np.array(["a"] * 31)),
        "must be an array of numbers, got dtype.*; save class indices, and their names in classes",
    ),
    "complex": (replaced("inputs.npy", np.zeros((31, 2), complex)), "must be an array of numbers"),
    "records": (replaced("inputs.npy", np.zeros(31, "f4,f4")), "must be an array of numbers"),
    "long double": (replaced("inputs.npy", np.zeros(31, "g")), "must be an array of numbers"),
    "Fortran": (
        replaced("inputs.npy", np.asfortranarray(np.zeros((31, 2)))),
        "inputs.npy must be in C order, got Fortran order; save np.ascontiguousarray",
    ),
    "big-endian": (
        replaced("inputs.npy", np.zeros((31, 2), ">f4")),
        "inputs.npy must be in the byte order of this machine, got '>f4'; save array.astype",
    ),
    "lengths": (
        replaced("targets.npy", np.zeros(30)),
        "holds examples that cannot be used: targets must be one value for each of the 31 examples",
    ),
    "class": (
        replaced("targets.npy", np.arange(31)),
        r"cannot be used: targets must be class indices in \[0, 3\), got 30",
    ),
    "bool": (replaced("targets.npy", np.zeros(31, bool)), "cannot be used: targets must be a ten"),
    "weights": (
        replaced("weights.npy", np.full(31, -1.0)),
        "cannot be used: weights must be at least 0",
    ),
    "infinite": (
        replaced("targets.npy", np.full((31, 3), np.inf)),
        "cannot be used: targets must be finite in every element, got 93 elements",
    ),
    "scalar": (replaced("inputs.npy", np.zeros(())), "cannot be used: inputs must be a tensor of"),
    "no list": (
        wrong_npy(lambda a: (a / "classes.json").write_text('{"a": 0}')),
        "cannot be used: classes must be a sequence of strings",
    ),
    "no JSON": (
        wrong_npy(lambda a: (a / "classes.json").write_text("a\nb")),
        "classes.json must be a file with the class names as a JSON list, got an error",
    ),
    "csv": (bytes_of(b"a,b\n1,2\n" * 9), "must be whole, a safetensors file, or a folder with"),
    "no bytes": (bytes_of(b""), "must be whole, a safetensors file"),
    "cut safetensors": (
        lambda folder: cut(safetensors(len)(folder)),
        "must be whole, a safetensors file",
    ),
    "misspelled": (
        safetensors(lambda t: t.update(weight=torch.ones(4))),
        "and weights if any, got the tensors inputs, targets, weight",
    ),
    "no targets": (safetensors(lambda t: t.pop("targets")), "got the tensors inputs$"),
    "no tensors": (safetensors(lambda t: t.clear()), "got no tensors$"),
    "float8": (
        safetensors(lambda t: t.update(inputs=torch.zeros(4, 2).to(torch.float8_e5m2))),
        "must be a file with numbers in inputs, got 'F8_E5M2'",
    ),
    "classes in the header": (safetensors(len, "a"), "the class names as a JSON list"),
    "fewer classes": (safetensors(len, '["a"]'), r"targets must be class indices in \[0, 1\)"),
    "huge": (huge, "must be a file of arrays whose sizes are 64-bit integers, got "),
    "a shape of bools": (wrong_npy(npy_of_shape("(True, 2)")), "must be a whole .npy file"),
    "a huge shape": (wrong_npy(npy_of_shape(f"(4, 0, {2**63 - 1})")), "must be a whole .npy file"),
    "unaligned": (unaligned, "numbers at multiples of 4 bytes, got .*; load it with safetensors"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_file_is_refused(tmp_path: Path, kind: str) -> None:
    write, message = WRONG[kind]
    path = write(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        LabeledTensors.open(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kind", ["folder", "inputs.npy", "safetensors"])
def test_a_file_that_may_not_be_read_is_not_called_missing(tmp_path: Path, kind: str) -> None:
    folder = folder_of(resident(), tmp_path / "a")
    path = resident().save(tmp_path / "x") if kind == "safetensors" else folder
    hidden = folder / kind if kind == "inputs.npy" else path
    if os.geteuid() == 0:
        pytest.skip("root may read every file")
    hidden.chmod(0)
    try:
        with pytest.raises(DataError, match="Permission denied"):
            LabeledTensors.open(path)
    finally:
        hidden.chmod(0o755)


def test_damaged_headers_are_refused(tmp_path: Path) -> None:
    """A changed byte of a header gives another data set or a DataError, and nothing else."""
    random = np.random.default_rng(0)
    names = ("inputs.npy", "x")
    folder_of(resident(), tmp_path / "a")
    for name in names:
        path = tmp_path / "a" / name
        if name == "x":
            resident().save(path)
        whole = path.read_bytes()
        for _ in range(60):
            changed = bytearray(whole)
            changed[random.integers(0, 120)] = random.integers(256)
            path.write_bytes(changed)
            with contextlib.suppress(DataError):
                LabeledTensors.open(path if name == "x" else path.parent)


def test_complex_numbers_are_not_saved(tmp_path: Path) -> None:
    data = LabeledTensors(torch.zeros(2, 1, dtype=torch.complex64), torch.zeros(2))
    with pytest.raises(TypeError, match="inputs must be of a dtype that a file of examples can"):
        data.save(tmp_path / "x")
    assert not (tmp_path / "x").exists()
