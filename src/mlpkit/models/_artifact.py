"""A classifier as one file, ``model.safetensors``; ``config.json`` beside it is never read."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mlpkit import _serialization
from mlpkit._checks import check_int, error_message
from mlpkit._files import open_regular, sweep_temporary, write_atomically
from mlpkit.errors import ArtifactError
from mlpkit.nn import MLP, MLPConfig

__all__ = ["Artifact", "read_artifact", "write_artifact"]

FORMAT = "mlpkit.classifier"
FORMAT_VERSION = 1
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
STATISTICS = frozenset({"mean", "std", "temperature"})
# Names, shapes and the description of a network of 100,000 layers take less.
MAX_HEADER_BYTES = 2**24


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """What the weights file says.

    Attributes:
        network: The network.
        classes: Name of each class.
        input_shape: Shape of one raw example.
        tensors: The state of the classifier, in main memory.
    """

    network: MLPConfig
    classes: tuple[str, ...]
    input_shape: tuple[int, ...]
    tensors: Mapping[str, Tensor]

    def bare_network(self) -> MLP:
        """Return the network without memory for its weights: a file may claim any size.

        Its dtype is that of the tensors; a classifier in bfloat16 or float64 comes back as one.
        """
        dtype = self.tensors["mean"].dtype if "mean" in self.tensors else torch.float32
        if dtype not in DTYPES:  # PyTorch cannot tell whether a float8 is finite
            rule = "of dtype float16, bfloat16, float32 or float64"
            raise ArtifactError(error_message("network", rule, dtype))
        return MLP.from_config(self.network, device="meta", dtype=dtype)

    def differing(self) -> list[str]:
        """Return the tensors that are not, in name, shape and type, those of the network."""
        layers = len(self.network.hidden_features)
        weights = {f"network.layers.{index}.linear.weight" for index in range(layers)}
        if not weights <= self.tensors.keys():  # building that many layers could take minutes
            return sorted(weights - self.tensors.keys())
        state = self.bare_network().state_dict()
        expected = {f"network.{name}": value for name, value in state.items()}
        wrong = (STATISTICS | expected.keys()) ^ self.tensors.keys()
        wrong |= {
            name
            for name, value in expected.items()
            if name in self.tensors
            and (value.shape, value.dtype) != (self.tensors[name].shape, self.tensors[name].dtype)
        }
        return sorted(wrong)

    def description(self) -> dict[str, _serialization.JSONValue]:
        """Return what ``config.json`` holds."""
        return {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "classes": list(self.classes),
            "input_shape": list(self.input_shape),
            "network": _serialization.to_dict(self.network),
        }


def write_artifact(folder: Path, artifact: Artifact) -> Path:
    """Write both files into a folder, and return it.

    The tensors may be on any device. ``config.json``, which is for people and for the hub, holds
    a copy of the description in ``model.safetensors``.

    Raises:
        ArtifactError: If a tensor is not finite, not one of the network described, or shares its
            memory with another.
        ConfigError: If the network has an activation that only exists as code.
        OSError: If the folder cannot be written.
    """
    _check_untied(artifact.tensors)
    tensors = {name: value.detach().cpu().contiguous() for name, value in artifact.tensors.items()}
    config = json.dumps(artifact.description(), indent=2) + "\n"
    wrong = artifact.differing()
    if wrong:
        cure = "a layer was replaced or parametrized; save its state_dict yourself"
        rule = "what its config describes"
        raise ArtifactError(error_message("network", rule, _listed(wrong), cure))
    for name, value in tensors.items():
        if not bool(value.isfinite().all()):
            raise ArtifactError(error_message(name, "finite to be saved", "NaN or infinity"))
    content = save(tensors, _expected_metadata(config, tensors))
    header = int.from_bytes(content[:8], "little")
    if header > MAX_HEADER_BYTES:
        rule = f"described in at most {MAX_HEADER_BYTES} bytes"
        cure = "shorten the class names"
        raise ArtifactError(error_message("network and classes", rule, f"{header}", cure))
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        sweep_temporary(folder)
        write_atomically(
            folder / WEIGHTS_FILE,
            lambda file: file.write(content),
            # Once the new weights are on the disk, and before they replace the old ones: a save
            # that is killed leaves no config.json of other weights.
            check=lambda _: (folder / CONFIG_FILE).unlink(missing_ok=True),
        )
        write_atomically(folder / CONFIG_FILE, lambda file: file.write(config.encode()))
    except BaseException:
        if is_new:
            with contextlib.suppress(OSError):  # not empty: the weights are there
                folder.rmdir()
        raise
    return folder


def read_artifact(path: Path) -> Artifact:
    """Read the weights file that :func:`write_artifact` wrote; nothing in it can run code.

    The file is opened once, so another process may replace it meanwhile.

    Args:
        path: The folder, or its ``model.safetensors`` alone.

    Raises:
        ArtifactError: If the file is missing, damaged or of an unknown version.
    """
    weights_path = path / WEIGHTS_FILE if path.is_dir() else path
    tensors, metadata = _read_weights(weights_path)
    config = metadata.get("config", "")
    artifact = _described(_parsed(config, weights_path), tensors, weights_path)
    expected = _expected_metadata(config, tensors)
    if "config_sha256" not in metadata:  # files of earlier versions have none
        del expected["config_sha256"]
    if metadata != expected:
        raise ArtifactError(
            f"{weights_path} must hold the weights that were saved and their description, "
            "got other bytes; the file is damaged, copy it again"
        )
    for name, value in tensors.items():
        if not bool(value.isfinite().all()):
            rule = "finite, as save writes it"
            raise ArtifactError(error_message(f"{name} in {weights_path}", rule, "NaN or infinity"))
    temperature = tensors["temperature"]
    if temperature.ndim or not float(temperature) > 0:
        rule = "one number above 0"
        raise ArtifactError(
            error_message(f"temperature in {weights_path}", rule, temperature.tolist())
        )
    return artifact


def _described(
    description: Mapping[str, object], tensors: Mapping[str, Tensor], path: Path
) -> Artifact:
    """Return the artifact of a description, after comparing it with the tensors of its file."""
    network, classes, shape = (
        description.get(key) for key in ("network", "classes", "input_shape")
    )
    if not (isinstance(network, dict) and isinstance(classes, list) and isinstance(shape, list)):
        rule = "a file that describes a network, its classes and its input shape"
        raise ArtifactError(error_message(str(path), rule, description))
    try:
        for index, size in enumerate(shape):
            check_int(f"input_shape[{index}]", size, minimum=1)
        config = _serialization.from_dict(MLPConfig, network, source=str(path))
        artifact = Artifact(
            network=config, classes=tuple(classes), input_shape=tuple(shape), tensors=tensors
        )
        wrong = artifact.differing()
    # OverflowError: a size beyond 64 bits. RecursionError, a RuntimeError: nested lists.
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]  # PyTorch may add a trace of its C++ functions
        raise ArtifactError(f"{path} describes a model that cannot be built: {reason}") from error
    if wrong:
        raise ArtifactError(
            f"{path} must hold the tensors that its configuration describes, "
            f"got a difference in {_listed(wrong)}; save the model again"
        )
    return artifact


def _expected_metadata(config: str, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the metadata of a weights file: the description, and digests of all that it holds."""
    return {
        "format": "pt",
        "config": config,
        "config_sha256": hashlib.sha256(config.encode(errors="surrogatepass")).hexdigest(),
        "sha256": _digest(tensors),
    }


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the sha256 of names, types, shapes and bytes of all tensors, in order of name."""
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        # a view as bytes: NumPy has no bfloat16
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _listed(names: Sequence[str]) -> str:
    """Return the first names and the number of the others."""
    others = len(names) - 5
    return ", ".join(names[:5]) + (f" and {others} more" if others > 0 else "")


def _check_untied(tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that overlap in memory: after loading they would no longer be tied."""
    spans = sorted(
        (str(value.device), value.data_ptr(), _end(value), name)
        for name, value in tensors.items()
        if value.numel() and not value.is_meta
    )
    for (device, _, end, name), (other_device, start, _, other) in itertools.pairwise(spans):
        if device == other_device and start < end:
            rule = "a tensor with separate memory to be saved"
            cure = "a saved model does not keep tied weights; clone one of them"
            raise ArtifactError(error_message(other, rule, f"the memory of {name}", cure))


def _end(value: Tensor) -> int:
    """Return the address after the last element of a tensor of any strides."""
    steps = zip(value.shape, value.stride(), strict=True)
    last = sum((size - 1) * stride for size, stride in steps)
    return value.data_ptr() + (last + 1) * value.element_size()


def _read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a safetensors file, opened once."""
    if not path.exists():
        raise ArtifactError(
            f"{path} must be a file that SoftmaxClassifier.save wrote, got none; check the folder"
        )
    try:
        with open_regular(path) as file:
            metadata = _metadata(file)
            file.seek(0)
            return load(file.read()), metadata
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise ArtifactError(
            f"{path} must be a whole safetensors file, got an error: {error}; "
            "the file is damaged, copy it again"
        ) from error


def _metadata(file: BinaryIO) -> dict[str, str]:
    """Return the metadata, after comparing the size of the file with the one that it declares.

    Raises:
        ValueError: If the header is too long, no JSON, or declares another size.
        RecursionError: If it is nested too deeply.
    """
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if length > min(MAX_HEADER_BYTES, size - 8):
        raise ValueError(f"a header of {length} bytes in a file of {size}")
    header = json.loads(file.read(length))
    try:
        metadata: object = header.pop("__metadata__", {})
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        fits = 8 + length + end == size
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError("a header that describes no tensors") from error
    if not fits or not isinstance(metadata, dict):
        raise ValueError(f"a header that does not describe a file of {size} bytes")
    return {str(key): str(value) for key, value in metadata.items()}


def _parsed(config: str, path: Path) -> Mapping[str, object]:
    """Return the configuration inside a weights file, if it is one of this format."""
    try:
        description = json.loads(config)
    except (ValueError, RecursionError):  # ValueError: no JSON, or an integer of 5,000 digits
        description = None
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise ArtifactError(
            f"{path} must be a model saved by SoftmaxClassifier.save, got another safetensors "
            "file; load its tensors with safetensors.torch.load_file"
        )
    version = description.get("version")
    if version != FORMAT_VERSION:
        raise ArtifactError(
            f"{path} must have format version {FORMAT_VERSION}, got {version!r}; "
            "load it with the version of mlpkit that wrote it"
        )
    return description
