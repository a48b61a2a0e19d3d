"""A model as one file, ``model.safetensors``; ``config.json`` beside it is never read."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mlpkit import _serialization
from mlpkit._checks import Unquoted, check_int, error_message
from mlpkit._files import make_folder, open_regular, sweep_temporary, write_atomically
from mlpkit._serialization import JSONValue
from mlpkit.errors import ArtifactError
from mlpkit.nn import MLP, MLPConfig, TabularMLP, TabularMLPConfig

__all__ = [
    "CLASSIFIER",
    "ENSEMBLE",
    "MULTILABEL_CLASSIFIER",
    "REGRESSOR",
    "Artifact",
    "Kind",
    "read_artifact",
    "write_artifact",
]

FORMAT_VERSION = 1
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# Names, shapes and the description of a network of 100,000 layers take less.
MAX_HEADER_BYTES = 2**24


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """What distinguishes the files of one class of models.

    Attributes:
        format: Name of the format in the description.
        class_name: Name of the class that saves and loads it.
        keys: JSON type of each key of the description besides network and input_shape.
        described: What the description has, for error messages.
        tensors: Names of the tensors besides those of the network.
        positive: Number of axes of the tensors whose values must be above 0.
    """

    format: str
    class_name: str
    keys: Mapping[str, type | tuple[type, ...]]
    described: str
    tensors: frozenset[str]
    positive: Mapping[str, int]


_NONE = type(None)
CLASSIFIER = Kind(
    format="mlpkit.classifier",
    class_name="SoftmaxClassifier",
    keys=MappingProxyType({"classes": list}),
    described="a network, its classes and its input shape",
    tensors=frozenset({"mean", "std", "temperature"}),
    positive=MappingProxyType({"temperature": 0}),
)
MULTILABEL_CLASSIFIER = Kind(
    format="mlpkit.multilabel_classifier",
    class_name="MultilabelClassifier",
    keys=MappingProxyType(
        {"classes": list, "target_shape": list, "pos_weight": (float, list, _NONE)}
    ),
    described="a network, its labels with their shape and weights, and its input shape",
    tensors=frozenset({"mean", "std", "temperature", "thresholds"}),
    positive=MappingProxyType({"temperature": 1}),
)
REGRESSOR = Kind(
    format="mlpkit.regressor",
    class_name="Regressor",
    keys=MappingProxyType(
        {"target_names": (list, _NONE), "target_shape": list, "predicts_std": bool}
    ),
    described="a network, its targets and its input shape",
    tensors=frozenset({"mean", "std", "target_mean", "target_std"}),
    positive=MappingProxyType({"target_std": 1}),
)
ENSEMBLE = Kind(
    format="mlpkit.ensemble",
    class_name="Ensemble",
    keys=MappingProxyType({"members": list}),
    described="its members",
    tensors=frozenset(),
    positive=MappingProxyType({}),
)
_SINGLE = {kind.format: kind for kind in (CLASSIFIER, MULTILABEL_CLASSIFIER, REGRESSOR)}
_KINDS = {**_SINGLE, ENSEMBLE.format: ENSEMBLE}
_OPTIONAL_TENSORS = frozenset({"mean_remainder"})  # only models of large means have it


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """What the weights file says.

    Attributes:
        kind: The class of the model.
        network: The network.
        input_shape: Shape of one raw example.
        details: Values of the keys of the kind.
        tensors: The state of the model, in main memory.
        encoder: The state of the encoder of its tables; None if its inputs come from no table.
        members: The members of an ensemble, whose network is that of the first; else empty.
    """

    kind: Kind
    network: MLPConfig | TabularMLPConfig
    input_shape: tuple[int, ...]
    details: Mapping[str, JSONValue]
    tensors: Mapping[str, Tensor]
    encoder: Mapping[str, JSONValue] | None = None
    members: tuple[Artifact, ...] = ()

    def bare_network(self) -> MLP | TabularMLP:
        """Return the network without memory for its weights: a file may claim any size.

        Its dtype is that of the tensors; a model in bfloat16 or float64 comes back as one.
        """
        dtype = self.tensors["mean"].dtype if "mean" in self.tensors else torch.float32
        if dtype not in DTYPES:  # PyTorch cannot tell whether a float8 is finite
            rule = "of dtype float16, bfloat16, float32 or float64"
            raise ArtifactError(error_message("network", rule, dtype))
        if isinstance(self.network, TabularMLPConfig):
            return TabularMLP.from_config(self.network, device="meta", dtype=dtype)
        return MLP.from_config(self.network, device="meta", dtype=dtype)

    def differing(self) -> list[str]:
        """Return the tensors that are not, in name, shape and type, those of the network."""
        if self.members:
            return sorted(
                f"{_prefix(number)}{name}"
                for number, member in enumerate(self.members)
                for name in member.differing()
            )
        mlp, prefix = self.network, "network."
        if isinstance(mlp, TabularMLPConfig):
            present = sum(value.numel() for value in self.tensors.values())
            if mlp.num_embedded > present:  # a file may claim any number of categories
                return ["network.embedding"]
            mlp, prefix = mlp.mlp, "network.mlp."
        layers = len(mlp.hidden_features)
        weights = {f"{prefix}layers.{index}.linear.weight" for index in range(layers)}
        if not weights <= self.tensors.keys():  # building that many layers could take minutes
            return sorted(weights - self.tensors.keys())
        state = self.bare_network().state_dict()
        expected = {f"network.{name}": value for name, value in state.items()}
        statistics = self.kind.tensors | (_OPTIONAL_TENSORS & self.tensors.keys())
        wrong = (statistics | expected.keys()) ^ self.tensors.keys()
        wrong |= {
            name
            for name, value in expected.items()
            if name in self.tensors
            and (value.shape, value.dtype) != (self.tensors[name].shape, self.tensors[name].dtype)
        }
        dtype = self.tensors["mean"].dtype if "mean" in self.tensors else None
        wrong |= {
            name
            for name in statistics & self.tensors.keys()
            if dtype is not None
            and self.tensors[name].dtype not in (dtype, torch.promote_types(dtype, torch.float32))
        }
        return sorted(wrong)

    def description(self) -> dict[str, JSONValue]:
        """Return what ``config.json`` holds."""
        encoder: dict[str, JSONValue] = (
            {} if self.encoder is None else {"encoder": dict(self.encoder)}
        )
        if self.members:
            members: list[JSONValue] = [member.description() for member in self.members]
            head: dict[str, JSONValue] = {"format": self.kind.format, "version": FORMAT_VERSION}
            return {**head, **encoder, "members": members}
        return {
            "format": self.kind.format,
            "version": FORMAT_VERSION,
            **self.details,
            **encoder,
            "input_shape": list(self.input_shape),
            "network": _serialization.to_dict(self.network),
        }


def write_artifact(folder: Path, artifact: Artifact) -> Path:
    """Write both files into a folder, and return it.

    The tensors may be on any device. ``config.json``, which is for people and for the hub, holds
    a copy of the description in ``model.safetensors``.

    Raises:
        ArtifactError: If a tensor has no memory, is not finite, not one of the network described,
            or shares its memory with another.
        ConfigError: If the network has an activation that only exists as code.
        OSError: If the folder cannot be written.
    """
    without_memory = [name for name, value in artifact.tensors.items() if value.is_meta]
    if without_memory:
        rule = "on a device with memory to be saved"
        cure = "give the model memory with to_empty(device='cpu'), then load its weights"
        raise ArtifactError(error_message(without_memory[0], rule, "meta", cure))
    _check_untied(artifact.tensors)
    tensors = {name: value.detach().cpu().contiguous() for name, value in artifact.tensors.items()}
    config = json.dumps(artifact.description(), indent=2) + "\n"
    wrong = artifact.differing()
    if wrong:
        cure = "a layer was replaced or parametrized; save its state_dict yourself"
        rule = "what its config describes"
        raise ArtifactError(error_message("network", rule, Unquoted(_listed(wrong)), cure))
    for name, value in tensors.items():
        if not bool(value.isfinite().all()):
            raise ArtifactError(
                error_message(name, "finite to be saved", Unquoted("NaN or infinity"))
            )
    content = save(tensors, _expected_metadata(config, tensors))
    header = int.from_bytes(content[:8], "little")
    if header > MAX_HEADER_BYTES:
        rule = f"described in at most {MAX_HEADER_BYTES} bytes"
        cure = "shorten the names"
        raise ArtifactError(error_message("network and names", rule, header, cure))
    is_new = not folder.exists()
    make_folder(folder)
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


def read_artifact(path: Path, kind: Kind | None = None) -> Artifact:
    """Read the weights file that :func:`write_artifact` wrote; nothing in it can run code.

    The file is opened once, so another process may replace it meanwhile.

    Args:
        path: The folder, or its ``model.safetensors`` alone.
        kind: The kind of the model; None for any.

    Raises:
        ArtifactError: If the file is missing, damaged, of an unknown version or of another kind.
    """
    weights_path = path / WEIGHTS_FILE if path.is_dir() else path
    tensors, metadata = _read_weights(weights_path, kind)
    config = metadata.get("config", "")
    description, found = _parsed(config, weights_path, kind)
    artifact = _described(description, found, tensors, weights_path)
    if metadata != _expected_metadata(config, tensors):
        raise ArtifactError(
            f"{weights_path} must hold the weights that were saved and their description, "
            "got other bytes; the file is damaged, copy it again"
        )
    for name, value in tensors.items():
        if not bool(value.isfinite().all()):
            rule = "finite, as save writes it"
            raise ArtifactError(
                error_message(f"{name} in {weights_path}", rule, Unquoted("NaN or infinity"))
            )
    for one in artifact.members or (artifact,):
        for name, axes in one.kind.positive.items():
            value = one.tensors[name]
            if value.ndim != axes or not bool((value > 0).all()):
                rule = "numbers above 0 with one axis" if axes else "one number above 0"
                raise ArtifactError(
                    error_message(f"{name} in {weights_path}", rule, value.tolist())
                )
    return artifact


def _prefix(number: int) -> str:
    """Return the start of the names of the tensors of a member."""
    return f"members.{number}."


def _ensemble(
    description: Mapping[str, object], tensors: Mapping[str, Tensor], path: Path
) -> Artifact:
    """Return the artifact of a description of members, after comparing it with the tensors."""
    listed, encoder = description.get("members"), description.get("encoder")
    members: list[Artifact] = []
    for number, each in enumerate(listed if isinstance(listed, list) else ()):
        name = each.get("format") if isinstance(each, dict) else None
        kind = _SINGLE.get(name) if isinstance(name, str) else None
        if kind is None:
            rule = "a file that describes a model of one network"
            raise ArtifactError(error_message(f"members[{number}] in {path}", rule, each))
        prefix = _prefix(number)
        part = {
            name.removeprefix(prefix): value
            for name, value in tensors.items()
            if name.startswith(prefix)
        }
        members.append(_described(each, kind, part, path))
    if not members or not isinstance(encoder, dict | None):
        rule = f"a file that describes {ENSEMBLE.described}"
        raise ArtifactError(error_message(str(path), rule, description))
    artifact = Artifact(
        kind=ENSEMBLE,
        network=members[0].network,
        input_shape=members[0].input_shape,
        details={},
        tensors=tensors,
        encoder=cast("dict[str, JSONValue] | None", encoder),
        members=tuple(members),
    )
    known = {f"{_prefix(n)}{name}" for n, one in enumerate(members) for name in one.tensors}
    wrong = sorted(tensors.keys() - known - {"temperature"})
    if wrong:
        raise ArtifactError(
            f"{path} must hold the tensors that its configuration describes, "
            f"got a difference in {_listed(wrong)}; save the model again"
        )
    return artifact


def _described(
    description: Mapping[str, object], kind: Kind, tensors: Mapping[str, Tensor], path: Path
) -> Artifact:
    """Return the artifact of a description, after comparing it with the tensors of its file."""
    if kind is ENSEMBLE:
        return _ensemble(description, tensors, path)
    network, shape = description.get("network"), description.get("input_shape")
    encoder = description.get("encoder")
    has_types = all(
        key in description and isinstance(description[key], types)
        for key, types in kind.keys.items()
    )
    has_types = has_types and isinstance(encoder, dict | None)
    if not (has_types and isinstance(network, dict) and isinstance(shape, list)):
        rule = f"a file that describes {kind.described}"
        raise ArtifactError(error_message(str(path), rule, description))
    try:
        for index, size in enumerate(shape):
            check_int(f"input_shape[{index}]", size, minimum=1)
        artifact = Artifact(
            kind=kind,
            network=_network_config(network, str(path)),
            input_shape=tuple(shape),
            details={key: cast("JSONValue", description[key]) for key in kind.keys},
            tensors=tensors,
            encoder=cast("dict[str, JSONValue] | None", encoder),
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


def _network_config(values: Mapping[str, object], source: str) -> MLPConfig | TabularMLPConfig:
    """Return the configuration of a network: one with an MLP inside it is that of a TabularMLP."""
    if "mlp" in values:
        return _serialization.from_dict(TabularMLPConfig, values, source=source)
    return _serialization.from_dict(MLPConfig, values, source=source)


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
        # A view as bytes, since NumPy has no bfloat16; one element may have any stride.
        flat = value.contiguous().as_strided((value.numel(),), (1,))
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _listed(names: Sequence[str]) -> str:
    """Return the first names and the number of the others."""
    others = len(names) - 5
    return ", ".join(names[:5]) + (f" and {others} more" if others > 0 else "")


def _check_untied(tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that share an element: after loading they would no longer be tied."""
    spans = sorted(
        (str(value.device), value.data_ptr(), _end(value), name)
        for name, value in tensors.items()
        if value.numel()
    )
    for index, (device, _, end, name) in enumerate(spans):
        for other_device, start, _, other in spans[index + 1 :]:
            if device != other_device or start >= end:
                break  # the spans are in the order of their first address
            if _share_element(tensors[name], tensors[other]):
                rule = "a tensor with separate memory to be saved"
                cure = "a saved model does not keep tied weights; clone one of them"
                raise ArtifactError(
                    error_message(other, rule, Unquoted(f"the memory of {name}"), cure)
                )


def _end(value: Tensor) -> int:
    """Return the address after the last element of a tensor of any strides."""
    steps = zip(value.shape, value.stride(), strict=True)
    last = sum((size - 1) * stride for size, stride in steps)
    return value.data_ptr() + (last + 1) * value.element_size()


def _share_element(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors have a byte in common; views may be interleaved."""
    start = min(one.data_ptr(), other.data_ptr())
    mask = np.zeros(max(_end(one), _end(other)) - start, dtype=bool)  # of the bytes of one
    _bytes_within(mask, one, start)[...] = True
    return bool(_bytes_within(mask, other, start).any())


def _bytes_within(mask: npt.NDArray[np.bool_], value: Tensor, start: int) -> npt.NDArray[np.bool_]:
    """Return the view of a mask of addresses that has the bytes of a tensor."""
    size = value.element_size()
    return np.lib.stride_tricks.as_strided(
        mask[value.data_ptr() - start :],
        shape=(*value.shape, size),
        strides=(*(stride * size for stride in value.stride()), 1),
    )


def _writer(kind: Kind | None) -> str:
    """Return the method that writes files of a kind; None is any kind."""
    return "the save method of a model" if kind is None else f"{kind.class_name}.save"


def _read_weights(path: Path, kind: Kind | None) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a safetensors file, opened once."""
    if not path.exists():
        raise ArtifactError(
            f"{path} must be a file that {_writer(kind)} wrote, got none; check the folder"
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


def _parsed(config: str, path: Path, kind: Kind | None) -> tuple[Mapping[str, object], Kind]:
    """Return the configuration inside a weights file and its kind, if it is one of mlpkit."""
    try:
        description = json.loads(config)
    except (ValueError, RecursionError):  # ValueError: no JSON, or an integer of 5,000 digits
        description = None
    name = description.get("format") if isinstance(description, dict) else None
    found = _KINDS.get(name) if isinstance(name, str) else None
    if found is None:
        raise ArtifactError(
            f"{path} must be a model saved by {_writer(kind)}, got another safetensors "
            "file; load its tensors with safetensors.torch.load_file"
        )
    if kind not in (None, found):
        raise ArtifactError(
            f"{path} must be a model saved by {_writer(kind)}, got one saved by {_writer(found)}; "
            f"load it with {found.class_name}.load or with mlpkit.models.load_model"
        )
    version = description.get("version")
    if version != FORMAT_VERSION:
        raise ArtifactError(
            f"{path} must have format version {FORMAT_VERSION}, got {version!r}; "
            "load it with the version of mlpkit that wrote it"
        )
    return description, found
