"""The file in which a run keeps what its hidden layers did after each epoch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from mlpkit import _plain
from mlpkit._checks import sentence
from mlpkit._files import write_atomically
from mlpkit.errors import ConfigError
from mlpkit.nn import ActivationStatistics

__all__ = ["plain_layer_health", "read_layer_health", "read_plain", "write_layer_health"]

_FORMAT = "mlpkit.layer_health"
_VERSION = 1


def plain_layer_health(measured: Mapping[int, ActivationStatistics]) -> list[_plain.Plain]:
    """Return one plain value for each measurement, in the order of the epochs.

    Args:
        measured: After how many epochs, 0 for none yet, to what was measured then.
    """
    return [
        {"epoch": epoch, "statistics": _plain.to_plain(statistics)}
        for epoch, statistics in sorted(measured.items())
    ]


def read_plain(rows: object, *, source: str) -> dict[int, ActivationStatistics]:
    """Return what :func:`plain_layer_health` gave.

    Raises:
        ConfigError: If the rows are something else.
    """
    measured: dict[int, ActivationStatistics] = {}
    for row in rows if isinstance(rows, list) else [rows]:
        epoch = row.get("epoch") if isinstance(row, dict) else None
        statistics = row.get("statistics") if isinstance(row, dict) else None
        if not isinstance(epoch, int) or not isinstance(statistics, dict):
            rule = "a list of epochs, each with its statistics"
            raise ConfigError(sentence(f"rows in {source}", rule, rows))
        found = _plain.from_plain(ActivationStatistics, statistics, source=source)
        measured[epoch] = found
    return measured


def write_layer_health(path: Path, measured: Mapping[int, ActivationStatistics]) -> Path:
    """Write the measurements as JSON, replacing the file whole, and return its path."""
    content = {"format": _FORMAT, "version": _VERSION, "rows": plain_layer_health(measured)}
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
        raise ConfigError(sentence(str(path), "the layer health that a run has written", content))
    if content.get("version") != _VERSION:
        rule = f"layer health of version {_VERSION}"
        cure = "read it with the mlpkit that wrote it"
        raise ConfigError(sentence(str(path), rule, content.get("version"), cure))
    return read_plain(content.get("rows"), source=str(path))
