"""The argument MODEL names a run, a model folder or a weights file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mlpkit.cli._model import load_model
from mlpkit.errors import ArtefactError


def test_each_way_of_naming_a_model(digits_run: Path) -> None:
    """The run, its model folder and the file in it are the same model."""
    images = torch.randint(0, 17, (5, 8, 8), dtype=torch.uint8)
    expected = load_model(digits_run).predict_proba(images)
    for path in (digits_run / "model", digits_run / "model" / "model.safetensors"):
        assert torch.equal(load_model(path).predict_proba(images), expected)


def test_what_is_no_model(tmp_path: Path) -> None:
    """A path that is not there, a run that was interrupted, and an empty folder."""
    with pytest.raises(ArtefactError, match=r"MODEL must be the folder of a run .*nowhere"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(ArtefactError, match=r"model.safetensors must be a file .*got none"):
        load_model(tmp_path)
    (tmp_path / "config.toml").touch()
    with pytest.raises(ArtefactError, match=r"MODEL must be a run that has ended.*--resume"):
        load_model(tmp_path)
