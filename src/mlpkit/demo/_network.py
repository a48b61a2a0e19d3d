"""A classifier as JSON and a float32 buffer, for the JavaScript of the page."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from mlpkit._checks import Unquoted, error_message
from mlpkit._serialization import JSONValue, to_dict
from mlpkit.errors import ConfigError
from mlpkit.models import SoftmaxClassifier
from mlpkit.nn import MLP, HiddenLayer, activation_config

__all__ = ["Weights", "describe_network"]

Description = dict[str, JSONValue]

_NORMS: dict[type[nn.Module], str] = {
    nn.BatchNorm1d: "batch",
    nn.LayerNorm: "layer",
    nn.RMSNorm: "rms",
}


class Weights:
    """A buffer of concatenated tensors, in little-endian float32."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def add(self, name: str, tensor: Tensor) -> Description:
        """Append a tensor, and return its offset and length in elements.

        Raises:
            ValueError: If a value is not finite in float32.
        """
        values = tensor.detach().to(device="cpu", dtype=torch.float32).reshape(-1)
        if not bool(values.isfinite().all()):
            cure = "train the network again with a lower learning rate"
            raise ValueError(
                error_message(name, "finite in float32", Unquoted("NaN or infinity"), cure)
            )
        location: Description = {"offset": self._length, "length": values.numel()}
        # through NumPy, because torch has no dtypes with an explicit byte order
        self._parts.append(values.numpy().astype(np.dtype("<f4")).tobytes())
        self._length += values.numel()
        return location

    def to_bytes(self) -> bytes:
        """Return the buffer."""
        return b"".join(self._parts)


def describe_network(model: SoftmaxClassifier, weights: Weights) -> Description:
    """Return the description of a network for ``forward.js``, and add its tensors to ``weights``.

    Raises:
        ValueError: If an activation is not a named one, a weight is not finite, or the model has a
            ``mean_remainder``.
    """
    network = model.network
    if not isinstance(network, MLP) or network.head is None:
        rule = "a classifier whose network is an MLP with a head"
        raise ValueError(error_message("model", rule, network))
    if model.mean_remainder is not None:  # forward.js subtracts the mean alone
        rule = "a classifier whose mean is exact in its dtype"
        cure = "train it on images with a background of 0"
        raise ValueError(error_message("model", rule, Unquoted("a mean_remainder"), cure))
    return {
        "mean": weights.add("mean", model.mean),
        "std": weights.add("std", model.std),
        "temperature": float(model.temperature),
        "layers": [
            _layer(f"network.layers.{index}", layer, weights)
            for index, layer in enumerate(network.layers)
        ],
        "head": {
            "linear": _linear("network.head", network.head, weights),
            "norm": None,
            "activation": _activation(
                "network.output_activation", network.output_activation or nn.Identity(), weights
            ),
            "skip": False,
        },
    }


def _layer(name: str, layer: HiddenLayer, weights: Weights) -> Description:
    return {
        "linear": _linear(f"{name}.linear", layer.linear, weights),
        "norm": None if layer.norm is None else _norm(f"{name}.norm", layer.norm, weights),
        "activation": _activation(f"{name}.activation", layer.activation, weights),
        "skip": layer.skip,
    }


def _linear(name: str, linear: nn.Linear, weights: Weights) -> Description:
    return {
        "inputs": linear.in_features,
        "outputs": linear.out_features,
        "weight": weights.add(f"{name}.weight", linear.weight),
        "bias": _maybe(f"{name}.bias", linear.bias, weights),
    }


def _norm(name: str, norm: nn.Module, weights: Weights) -> Description:
    kind = next((kind for cls, kind in _NORMS.items() if isinstance(norm, cls)), None)
    if kind is None:
        raise ValueError(error_message(name, "batch, layer or RMS normalization", norm))
    tensors = {
        "weight": getattr(norm, "weight", None),
        "bias": getattr(norm, "bias", None),
        "mean": getattr(norm, "running_mean", None),
        "var": getattr(norm, "running_var", None),
    }
    eps: float | None = vars(norm)["eps"]
    if eps is None:  # RMSNorm then uses the machine epsilon of its input
        like = next(norm.parameters(), torch.empty(0))
        eps = torch.finfo(like.dtype).eps
    return {
        "name": kind,
        "eps": eps,
        **{key: _maybe(f"{name}.{key}", tensor, weights) for key, tensor in tensors.items()},
    }


def _activation(name: str, activation: nn.Module, weights: Weights) -> Description:
    try:
        config = activation_config(activation)
    except ConfigError as error:
        cure = "the page cannot run custom modules"
        raise ValueError(error_message(name, "a named activation", activation, cure)) from error
    options = {key: value for key, value in to_dict(config).items() if value is not None}
    slopes = _maybe(f"{name}.weight", getattr(activation, "weight", None), weights)
    return {"label": type(activation).__name__, **options, "weight": slopes}


def _maybe(name: str, tensor: object, weights: Weights) -> Description | None:
    return weights.add(name, tensor) if isinstance(tensor, Tensor) else None
