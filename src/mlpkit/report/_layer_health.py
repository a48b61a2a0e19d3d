"""Layer health files: the activation statistics of the hidden layers of a run, by epoch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from mlpkit import _serialization
from mlpkit._checks import error_message
from mlpkit._files import open_regular, write_atomically
from mlpkit.errors import ConfigError
from mlpkit.nn import ActivationStatistics

__all__ = [
    "layer_health_from_rows",
    "layer_health_to_rows",
    "read_layer_health",
    "write_layer_health",
]

_FORMAT = "mlpkit.layer_health"
_VERSION = 1


def layer_health_to_rows(
    measured: Mapping[int, ActivationStatistics],
) -> list[_serialization.JSONValue]:
    """Convert measurements to JSON values, one per epoch in ascending order.

    Args:
        measured: The measurements by the number of completed epochs; 0 is the untrained network.

    Example:
        >>> import torch
        >>> from mlpkit.nn import MLP, activation_statistics
        >>> from mlpkit.report import layer_health_from_rows, layer_health_to_rows
        >>> measured = {0: activation_statistics(MLP(4, (8,), 2), torch.randn(32, 4))}
        >>> rows = layer_health_to_rows(measured)
        >>> layer_health_from_rows(rows) == measured
        True
    """
    return [
        {"epoch": epoch, "statistics": _serialization.to_dict(statistics)}
        for epoch, statistics in sorted(measured.items())
    ]


def layer_health_from_rows(
    rows: object, *, source: str = "the layer health"
) -> dict[int, ActivationStatistics]:
    """Convert the result of :func:`layer_health_to_rows` back to measurements by epoch.

    Args:
        rows: The JSON values.
        source: The origin of the values, for error messages.

    Raises:
        ConfigError: If the values are not layer health.
    """
    measured: dict[int, ActivationStatistics] = {}
    for row in rows if isinstance(rows, list) else [rows]:
        epoch = row.get("epoch") if isinstance(row, dict) else None
        statistics = row.get("statistics") if isinstance(row, dict) else None
        if not isinstance(epoch, int) or not isinstance(statistics, dict):
            rule = "a list of epochs, each with its statistics"
            raise ConfigError(error_message(f"rows in {source}", rule, rows))
        measured[epoch] = _serialization.from_dict(ActivationStatistics, statistics, source=source)
    return measured


def write_layer_health(path: Path, measured: Mapping[int, ActivationStatistics]) -> Path:
    """Write measurements to a JSON file atomically, and return its path.

    Args:
        path: The file, which is replaced if it exists.
        measured: The measurements by the number of completed epochs; 0 is the untrained network.

    Raises:
        OSError: If the file cannot be written; an older one is then unchanged.
    """
    content = {"format": _FORMAT, "version": _VERSION, "rows": layer_health_to_rows(measured)}
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    return write_atomically(path, lambda file: file.write(text.encode()))


def read_layer_health(path: Path) -> dict[int, ActivationStatistics]:
    """Read a file of :func:`write_layer_health`; the values are equal to the last bit.

    Args:
        path: The file.

    Raises:
        ConfigError: If the file is not a layer health file of a supported version.
        OSError: If the file cannot be read.
    """
    try:
        with open_regular(path) as file:
            content = json.loads(file.read())
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} must be layer health as JSON, got an error: {error}") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise ConfigError(error_message(str(path), "a layer health file of mlpkit train", content))
    if content.get("version") != _VERSION:
        rule = f"layer health of version {_VERSION}"
        cure = "read it with the version of mlpkit that wrote it"
        raise ConfigError(error_message(str(path), rule, content.get("version"), cure))
    return layer_health_from_rows(content.get("rows"), source=str(path))
