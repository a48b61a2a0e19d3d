"""The record of the layers: read back to the last bit, or refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from mlpkit.errors import ConfigError
from mlpkit.nn import MLP, ActivationStatistics, activation_statistics
from mlpkit.report._layer_health import (
    layer_health_to_dict,
    read_layer_health,
    read_plain,
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


def test_what_is_written_is_read(tmp_path: Path, measured: dict[int, ActivationStatistics]) -> None:
    """Every number to the last bit, in the order of the epochs, from the file and in between."""
    path = tmp_path / "layer_health.json"
    assert write_layer_health(path, measured) == path
    found = read_layer_health(path)
    assert found == measured
    assert list(found) == [1, 2]
    assert read_plain(layer_health_to_dict(measured), source="a test") == measured


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "must be layer health as JSON, got an error"),
        ("[]", r"must be the layer health that a run has written, got \[\]"),
        ('{"format": "mlpkit.history"}', "must be the layer health that a run has written"),
        ('{"version": 2}', r"must be layer health of version 1, got 2; read it with the mlpkit"),
        ('{"rows": [3]}', "rows in .* must be a list of epochs, each with its statistics"),
        ('{"rows": [{"epoch": 1, "statistics": {"layer": 3}}]}', "did you mean 'layers'"),
    ],
)
def test_what_is_none_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """One sentence that names the file."""
    path = tmp_path / "layer_health.json"
    content = json.loads(text) if text != "{" else None
    if isinstance(content, dict):
        content = {"format": "mlpkit.layer_health", "version": 1, **content}
        text = json.dumps(content)
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_layer_health(path)
    assert "layer_health.json" in str(caught.value)
