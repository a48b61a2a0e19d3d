"""A run folder is read whole, or refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mlpkit import SoftmaxClassifier
from mlpkit.data import digits
from mlpkit.errors import ConfigError
from mlpkit.nn import activation_statistics
from mlpkit.report import read_run
from mlpkit.report._layer_health import write_layer_health
from mlpkit.training import EpochRow, History


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as `mlpkit train` leaves it."""
    model = SoftmaxClassifier.for_data(digits().train, (8,))
    model.save(tmp_path / "model")
    row = EpochRow(epoch=0, step=9, lr=0.1, train_loss=1.5, seconds=2.0, examples_per_second=7.0)
    History([row]).to_json(tmp_path / "history.json")
    (tmp_path / "config.toml").write_text('dataset = "digits"\n')
    return tmp_path


def test_the_folder_is_read_whole(folder: Path) -> None:
    """Model, history, options, and the test set that the options name."""
    run = read_run(folder)
    saved = SoftmaxClassifier.load(folder / "model").state_dict()
    found = run.model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in saved.items())
    assert run.history == History.from_json(folder / "history.json")
    assert run.config == 'dataset = "digits"\n'
    assert run.layer_health == {}
    assert run.title == folder.name
    assert torch.equal(run.test.inputs, digits().test.inputs)


def test_what_the_layers_did_is_read_where_it_was_written(folder: Path) -> None:
    """The record of a run that has one; a damaged one is named."""
    model = SoftmaxClassifier.load(folder / "model")
    inputs = model.standardize(digits().test.inputs)
    measured = {1: activation_statistics(model.network, inputs)}
    path = write_layer_health(folder / "layer_health.json", measured)
    assert read_run(folder).layer_health == measured
    path.write_text(path.read_text()[:-9])
    with pytest.raises(ConfigError, match=r"layer_health\.json must be layer health as JSON"):
        read_run(folder)


@pytest.mark.parametrize("name", ["config.toml", "history.json"])
def test_an_unfinished_run_is_refused(folder: Path, name: str) -> None:
    """The sentence names the folder and what is missing."""
    (folder / name).unlink()
    with pytest.raises(ConfigError, match=f"run must be the folder of a run.*there is no {name}"):
        read_run(folder)


@pytest.mark.parametrize("text", ["", 'dataset = "minst"', "dataset = 3", "dataset ="])
def test_options_that_name_no_data_set_are_refused(folder: Path, text: str) -> None:
    """Missing, misspelled, of another type, no TOML."""
    (folder / "config.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"config\.toml must be"):
        read_run(folder)
