"""The file in which a run keeps what its hidden layers did after each epoch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from mlpkit import _serialization
from mlpkit._checks import error_message
from mlpkit._files import write_atomically
from mlpkit.errors import ConfigError
from mlpkit.nn import ActivationStatistics

__all__ = ["layer_health_to_dict", "read_layer_health", "read_plain", "write_layer_health"]

_FORMAT = "mlpkit.layer_health"
_VERSION = 1


def layer_health_to_dict(
    measured: Mapping[int, ActivationStatistics],
) -> list[_serialization.JSONValue]:
    """Return one plain value for each measurement, in the order of the epochs.

    Args:
        measured: After how many epochs, 0 for none yet, to what was measured then.
    """
    return [
        {"epoch": epoch, "statistics": _serialization.to_dict(statistics)}
        for epoch, statistics in sorted(measured.items())
    ]


def read_plain(rows: object, *, source: str) -> dict[int, ActivationStatistics]:
    """Return what :func:`layer_health_to_dict` gave.

    Raises:
        ConfigError: If the rows are something else.
    """
    measured: dict[int, ActivationStatistics] = {}
    for row in rows if isinstance(rows, list) else [rows]:
        epoch = row.get("epoch") if isinstance(row, dict) else None
        statistics = row.get("statistics") if isinstance(row, dict) else None
        if not isinstance(epoch, int) or not isinstance(statistics, dict):
            rule = "a list of epochs, each with its statistics"
            raise ConfigError(error_message(f"rows in {source}", rule, rows))
        found = _serialization.from_dict(ActivationStatistics, statistics, source=source)
        measured[epoch] = found
    return measured


def write_layer_health(path: Path, measured: Mapping[int, ActivationStatistics]) -> Path:
    """Write the measurements as JSON, replacing the file whole, and return its path."""
    content = {"format": _FORMAT, "version": _VERSION, "rows": layer_health_to_dict(measured)}
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    return write_atomically(path, lambda file: file.write(text.encode()))


def read_layer_health(path: Path) -> dict[int, ActivationStatistics]:
    """Return what :func:`write_layer_health` wrote, to the last bit.

    Raises:
        ConfigError: If the file is not one of a version that is known here.
        OSError: If the file cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} must be layer health as JSON, got an error: {error}") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise ConfigError(
            error_message(str(path), "the layer health that a run has written", content)
        )
    if content.get("version") != _VERSION:
        rule = f"layer health of version {_VERSION}"
        cure = "read it with the mlpkit that wrote it"
        raise ConfigError(error_message(str(path), rule, content.get("version"), cure))
    return read_plain(content.get("rows"), source=str(path))
