"""A classifier as two files: ``config.json``, and ``model.safetensors`` that is whole by itself."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mlpkit import _serialization
from mlpkit._checks import error_message
from mlpkit._files import sweep_temporary, write_atomically
from mlpkit.errors import ArtifactError
from mlpkit.nn import MLP, MLPConfig

__all__ = ["Artifact", "read_artifact", "write_artifact"]

FORMAT = "mlpkit.classifier"
FORMAT_VERSION = 1
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
STATISTICS = frozenset({"mean", "std", "temperature"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """What the two files say.

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
        dtype = self.tensors["mean"].dtype if "mean" in self.tensors else None
        return MLP.from_config(self.network, device="meta", dtype=dtype)

    def differing(self) -> list[str]:
        """Return the tensors that are not, in name, shape and type, those of the network."""
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

    Raises:
        ArtifactError: If a tensor is not finite, or not one of the network described.
        ConfigError: If the network has an activation that only exists as code.
        OSError: If the folder cannot be written.
    """
    tensors = dict(artifact.tensors)
    for name, value in tensors.items():
        if not bool(value.isfinite().all()):
            raise ArtifactError(error_message(name, "finite to be saved", "NaN or infinity"))
    config = json.dumps(artifact.description(), indent=2) + "\n"
    wrong = artifact.differing()
    if wrong:
        cure = "a layer was replaced or parametrized; save its state_dict yourself"
        rule = "what its config describes"
        raise ArtifactError(error_message("network", rule, ", ".join(wrong), cure))
    metadata = {"format": "pt", "config": config, "sha256": _digest(tensors)}
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        sweep_temporary(folder)
        write_atomically(
            folder / WEIGHTS_FILE,
            lambda file: file.write(save(tensors, metadata)),
            # Once the new weights are on the disk, and before they replace the old ones: there
            # never is a config.json that belongs to other weights.
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
    """Read what :func:`write_artifact` wrote; nothing in it can run code.

    Args:
        path: The folder, or its ``model.safetensors`` alone.

    Raises:
        ArtifactError: If a file is missing, damaged, of an unknown version, or if the two files do
            not belong together.
    """
    weights_path = path / WEIGHTS_FILE if path.is_dir() else path
    tensors, metadata = _read_weights(weights_path)
    config = metadata.get("config", "")
    beside = weights_path.with_name(CONFIG_FILE)
    if path.is_dir() and beside.exists() and beside.read_bytes() != config.encode():
        raise ArtifactError(
            f"{beside} must be the file saved with {WEIGHTS_FILE}, got another text; "
            "put the two files of one model together again"
        )
    artifact = _described(_parsed(config, weights_path), tensors, weights_path)
    if metadata != {"format": "pt", "config": config, "sha256": _digest(tensors)}:
        raise ArtifactError(
            f"{weights_path} must hold the weights that were saved, got other bytes; "
            "the file is damaged, copy it again"
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
    if not (
        isinstance(network, dict)
        and isinstance(classes, list)
        and isinstance(shape, list)
        and all(isinstance(size, int) for size in shape)
    ):
        raise ArtifactError(
            f"{path} must describe a network, its classes and its input shape, got {description!r}"
        )
    try:
        config = _serialization.from_dict(MLPConfig, network, source=str(path))
        artifact = Artifact(
            network=config, classes=tuple(classes), input_shape=tuple(shape), tensors=tensors
        )
        wrong = artifact.differing()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArtifactError(f"{path} describes a model that cannot be built: {error}") from error
    if wrong:
        raise ArtifactError(
            f"{path} must hold the tensors that its configuration describes, "
            f"got a difference in {', '.join(wrong)}; save the model again"
        )
    return artifact


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the sha256 of names, types, shapes and bytes of all tensors, in order of name."""
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        # a view as bytes: NumPy has no bfloat16
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a safetensors file, read once."""
    if not path.is_file():
        raise ArtifactError(
            f"{path} must be a file that SoftmaxClassifier.save wrote, got none; check the folder"
        )
    try:
        content = path.read_bytes()
        tensors = load(content)
    except (SafetensorError, OSError) as error:
        raise ArtifactError(
            f"{path} must be a whole safetensors file, got an error: {error}; "
            "the file is damaged, copy it again"
        ) from error
    # Loading has checked the header: eight bytes of length, then JSON.
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return tensors, header.get("__metadata__", {})


def _parsed(config: str, path: Path) -> Mapping[str, object]:
    """Return the configuration inside a weights file, if it is one of this format."""
    try:
        description = json.loads(config)
    except json.JSONDecodeError:
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
