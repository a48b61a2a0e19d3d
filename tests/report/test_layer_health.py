"""Layer health files: exact round trips and error messages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from mlpkit.errors import ConfigError
from mlpkit.nn import MLP, ActivationStatistics, activation_statistics
from mlpkit.report import (
    layer_health_from_rows,
    layer_health_to_rows,
    read_layer_health,
    write_layer_health,
)


@pytest.fixture
def measured() -> dict[int, ActivationStatistics]:
    """Two measurements of two layers."""
    generator = torch.Generator().manual_seed(0)
    model = MLP(5, (7, 3), 2, activation=("maxout", "sigmoid"), generator=generator)
    return {
        epoch: activation_statistics(model, torch.randn(20, 5, generator=generator) * epoch)
        for epoch in (2, 1)
    }


def test_round_trips_are_exact(tmp_path: Path, measured: dict[int, ActivationStatistics]) -> None:
    """Files and rows keep every value to the last bit, in ascending order of the epochs."""
    path = tmp_path / "layer_health.json"
    assert write_layer_health(path, measured) == path
    found = read_layer_health(path)
    assert found == measured
    assert list(found) == [1, 2]
    assert layer_health_from_rows(layer_health_to_rows(measured)) == measured


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "must be layer health as JSON, got an error"),
        ("[]", r"must be a layer health file of mlpkit train, got \[\]"),
        ('{"format": "mlpkit.history"}', "must be a layer health file of mlpkit train"),
        ('{"version": 2}', r"must be layer health of version 1, got 2; read it with the version"),
        ('{"rows": [3]}', "rows in .* must be a list of epochs, each with its statistics"),
        ('{"rows": [{"epoch": 1, "statistics": {"layer": 3}}]}', "did you mean 'layers'"),
    ],
)
def test_invalid_files_raise(tmp_path: Path, text: str, message: str) -> None:
    """The error names the file."""
    path = tmp_path / "layer_health.json"
    content = json.loads(text) if text != "{" else None
    if isinstance(content, dict):
        content = {"format": "mlpkit.layer_health", "version": 1, **content}
        text = json.dumps(content)
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_layer_health(path)
    assert "layer_health.json" in str(caught.value)
