"""An estimator as one safetensors file, whose metadata is its description as JSON."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mlpkit import _serialization
from mlpkit._checks import error_message, plain_scalar
from mlpkit._files import write_atomically
from mlpkit.errors import ArtifactError
from mlpkit.models import Ensemble
from mlpkit.nn import MLP, MLPConfig

__all__ = ["SavedEstimator", "read_estimator", "write_estimator"]

_KEY: Final = "mlpkit.sklearn"
_VERSION: Final = 1


@dataclass(frozen=True, slots=True, eq=False)
class SavedEstimator:
    """The content of a file.

    Attributes:
        class_name: Name of the class.
        params: The parameters.
        state: The fitted attributes, in plain values.
        network: The network, or the ensemble of ``preset="tabular"``.
    """

    class_name: str
    params: Mapping[str, object]
    state: Mapping[str, object]
    network: MLP | Ensemble


def write_estimator(path: Path, saved: SavedEstimator) -> Path:
    """Write a file atomically, and return its path.

    Raises:
        ArtifactError: If a value has no JSON form.
    """
    description = {
        "version": _VERSION,
        "class": saved.class_name,
        "params": {name: _to_json(name, value) for name, value in saved.params.items()},
        "state": {name: _to_json(name, value) for name, value in saved.state.items()},
    }
    network = saved.network
    if isinstance(network, Ensemble):
        tensors, metadata = _ensemble_content(network)
    else:
        description["network"] = _serialization.to_dict(network.config)
        description["dtype"] = str(next(network.parameters()).dtype).removeprefix("torch.")
        tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
        metadata = {"format": "pt"}
    content = save(tensors, metadata | {_KEY: json.dumps(description)})
    return write_atomically(path, lambda file: file.write(content))


def read_estimator(path: Path, class_name: str) -> SavedEstimator:
    """Return the content of a file of a class.

    Raises:
        ArtifactError: If the file is missing, damaged, or that of another class or version.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ArtifactError(
            error_message("path", "a file that save wrote", str(path), str(error))
        ) from error
    try:
        description = json.loads(metadata.get(_KEY, "{}"))
        found, version = description.get("class"), description.get("version")
        if found != class_name:
            rule = f"a file that {class_name}.save wrote"
            cure = "use the load method of that class" if found else "use mlpkit.models.load_model"
            raise ArtifactError(error_message("path", rule, f"{path} ({found})", cure))
        if version != _VERSION:
            cure = "load it with the version of mlpkit that wrote it"
            raise ArtifactError(error_message("format version", str(_VERSION), version, cure))
        network: MLP | Ensemble
        if "network" in description:
            config = _serialization.from_dict(MLPConfig, description["network"], source=str(path))
            dtype = {"float32": torch.float32, "float64": torch.float64}[description["dtype"]]
            network = MLP.from_config(config, device="meta", dtype=dtype)
            network.load_state_dict(tensors, assign=True)
        else:
            del metadata[_KEY]
            network = _ensemble(tensors, metadata)
        params = {name: _from_json(value) for name, value in description["params"].items()}
        state = {name: _from_json(value) for name, value in description["state"].items()}
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(f"{path} describes no estimator: {error}") from error
    for parameter in network.parameters():
        parameter.requires_grad_()
    return SavedEstimator(class_name, params, state, network.eval())


def _ensemble_content(ensemble: Ensemble) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of the file of an ensemble."""
    with tempfile.TemporaryDirectory() as folder:
        path = ensemble.save(folder) / "model.safetensors"
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, file.metadata()


def _ensemble(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Ensemble:
    """Return the ensemble of a file; its digests are checked."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(save(dict(tensors), dict(metadata)))
        return Ensemble.load(path)


def _to_json(name: str, value: object) -> object:
    """Return a plain value; tuples, arrays and dicts become objects with their kind.

    Raises:
        ArtifactError: If it is no plain value.
    """
    scalar = plain_scalar(value)
    if scalar is None or isinstance(scalar, bool | int | float | str):
        return scalar
    if isinstance(value, np.ndarray):
        items = [_to_json(name, item) for item in value.tolist()]
        return {"array": items, "dtype": value.dtype.str}
    if isinstance(value, Mapping):
        pairs = [[_to_json(name, key), _to_json(name, item)] for key, item in value.items()]
        return {"dict": pairs}
    if isinstance(value, tuple):
        return {"tuple": [_to_json(name, item) for item in value]}
    if isinstance(value, list):
        return [_to_json(name, item) for item in value]
    rule = "a number, a string, a bool, None, or a sequence of these to be saved"
    cure = "use an int" if name == "random_state" else "use joblib to save this estimator"
    raise ArtifactError(error_message(name, rule, value, cure))


def _from_json(value: object) -> object:
    """Return what :func:`_to_json` was given."""
    if isinstance(value, list):
        return [_from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return np.array(_from_json(value["array"]), dtype=np.dtype(value["dtype"]))
    if "dict" in value:
        return {_from_json(key): _from_json(item) for key, item in value["dict"]}
    return tuple(_from_json(item) for item in value["tuple"])
