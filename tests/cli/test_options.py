"""The options have exactly the fields of the configurations."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from mlpkit.cli._options import DataOptions, NetworkOptions, TrainingOptions
from mlpkit.data import FileSource
from mlpkit.nn import MLPConfig
from mlpkit.training import TrainerConfig


def test_options_have_the_fields_of_their_configuration() -> None:
    """Every field of a configuration is an option; None is filled in by the preset."""
    for kind, parent in ((NetworkOptions, MLPConfig), (TrainingOptions, TrainerConfig)):
        fields = {field.name for field in dataclasses.fields(kind)}
        assert fields == {field.name for field in dataclasses.fields(parent)}
    options, config = TrainingOptions(), TrainerConfig()
    filled = {"epochs", "batch_size", "optimizer", "schedule", "label_smoothing"}
    for field in dataclasses.fields(config):
        if field.name in filled:
            assert getattr(config, field.name) is None
        else:
            assert getattr(options, field.name) == getattr(config, field.name)
    network = {"in_features": 3, "hidden_features": (4,), "out_features": 2}
    assert dataclasses.asdict(NetworkOptions(**network)) == dataclasses.asdict(  # type: ignore[arg-type]
        MLPConfig(**network)  # type: ignore[arg-type]  # one dict for both
    )


def test_the_options_of_files_are_those_of_their_source() -> None:
    """Every field of FileSource but the path, with its default."""
    assert DataOptions().source(Path("x.csv")) == FileSource(path=Path("x.csv"))
    names = {field.name for field in dataclasses.fields(DataOptions)}
    assert names == {field.name for field in dataclasses.fields(FileSource)} - {"path"}
    assert DataOptions().given() == []
    assert DataOptions(target=("y",), color=True).given() == ["target", "color"]
    with pytest.raises(ValueError, match="val_fraction must be"):
        DataOptions(val_fraction=1.5)
