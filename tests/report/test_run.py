"""Reading of run folders."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
import torch

from mlpkit import MLP, MultilabelClassifier, Regressor, SoftmaxClassifier
from mlpkit.data import FileSource, digits
from mlpkit.errors import ConfigError, DataError
from mlpkit.nn import activation_statistics
from mlpkit.report import read_run, write_layer_health
from mlpkit.training import EpochRow, History


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files that `mlpkit train` writes."""
    model = SoftmaxClassifier.for_data(digits().train, (8,))
    model.save(tmp_path / "model")
    row = EpochRow(epoch=0, step=9, lr=0.1, train_loss=1.5, seconds=2.0, examples_per_second=7.0)
    History([row]).save_json(tmp_path / "history.json")
    (tmp_path / "config.toml").write_text('dataset = "digits"\n')
    return tmp_path


def test_all_files_are_read(folder: Path) -> None:
    """The run has the model, the history, the options and the test set that the options name."""
    run = read_run(folder)
    saved = SoftmaxClassifier.load(folder / "model").state_dict()
    found = run.model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in saved.items())
    assert run.history == History.load_json(folder / "history.json")
    assert run.config == 'dataset = "digits"\n'
    assert run.layer_health == {}
    assert run.title == folder.name
    assert torch.equal(run.test.inputs, digits().test.inputs)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("digits-20261129-092906", datetime.datetime(2026, 11, 29, 9, 29, 6)),
        ("digits-20261129-092906-2", datetime.datetime(2026, 11, 29, 9, 29, 6)),
        ("digits-20261329-092906", None),
        ("best", None),
    ],
)
def test_data_set_and_time_are_known(
    folder: Path, tmp_path: Path, name: str, expected: datetime.datetime | None
) -> None:
    """The data set is that of the options, the time that of the name of the folder."""
    run = read_run(folder.rename(tmp_path.parent / name))
    assert (run.dataset, run.started) == ("digits", expected)
    (tmp_path.parent / name).rename(tmp_path)


def test_layer_health_is_read_if_it_exists(folder: Path) -> None:
    """The error for a damaged file names the file."""
    model = SoftmaxClassifier.load(folder / "model")
    inputs = model.standardize(digits().test.inputs)
    measured = {1: activation_statistics(model.network, inputs)}
    path = write_layer_health(folder / "layer_health.json", measured)
    assert read_run(folder).layer_health == measured
    path.write_text(path.read_text()[:-9])
    with pytest.raises(ConfigError, match=r"layer_health\.json must be layer health as JSON"):
        read_run(folder)


def test_a_model_for_other_targets_raises(folder: Path) -> None:
    """The data set of the options has class indices."""
    network = MLP(64, (), 1)
    for model in (Regressor(network), MultilabelClassifier(network, classes=("a",))):
        model.save(folder / "model")
        kind = type(model).__name__
        with pytest.raises(ConfigError, match=f"targets of its data set, digits, got a {kind}"):
            read_run(folder)


@pytest.mark.parametrize("name", ["config.toml", "history.json"])
def test_an_unfinished_run_raises(folder: Path, name: str) -> None:
    """The error names the folder and the missing file."""
    (folder / name).unlink()
    cure = "" if name == "config.toml" else "; resume it with: mlpkit train --resume "
    found = f"run must be the folder of a run.*there is no {name} in it{cure}"
    with pytest.raises(ConfigError, match=found):
        read_run(folder)


@pytest.mark.parametrize("text", ["", 'dataset = "minst"', "dataset = 3", "dataset ="])
def test_options_without_a_valid_data_set_raise(folder: Path, text: str) -> None:
    """The name is missing, misspelled or of another type, or the file is not TOML."""
    (folder / "config.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"config\.toml must be"):
        read_run(folder)


def test_the_test_rows_of_a_csv_file_are_found(folder: Path, tmp_path: Path) -> None:
    """With the options of the split; `root` is the folder of a file that was moved."""
    rows = "".join(f"{n % 9},{n % 2}\n" for n in range(100))
    (tmp_path / "t.csv").write_text("x,y\n" + rows)
    source = FileSource(path=tmp_path / "t.csv", target=("y",), split_seed=5, test_fraction=0.3)
    train, _, test = source.load()
    SoftmaxClassifier.for_data(train, (8,)).save(folder / "model")
    (folder / "config.toml").write_text(
        f'dataset = "{tmp_path / "t.csv"}"\n'
        '[data]\ntarget = ["y"]\nsplit_seed = 5\ntest_fraction = 0.3\n'
    )
    assert torch.equal(read_run(folder).test.inputs, test.inputs)
    assert read_run(folder).dataset == "t.csv"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "t.csv").rename(tmp_path / "elsewhere" / "t.csv")
    with pytest.raises(DataError, match=r"t\.csv must be a CSV file"):
        read_run(folder)
    assert len(read_run(folder, root=tmp_path / "elsewhere").test) == 30
