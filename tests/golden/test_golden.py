"""What a released version wrote is read with the same values by this one."""

from __future__ import annotations

import json
import shutil
import tomllib
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from tests.golden import make

from mlpkit.cli import _main as cli
from mlpkit.models import load_model
from mlpkit.nn import MLP, MLPConfig
from mlpkit.training import History, TrainerConfig, load_checkpoint

VERSIONS = sorted(path for path in make.GOLDEN.iterdir() if (path / "expected.json").exists())
pytestmark = pytest.mark.parametrize("folder", VERSIONS, ids=lambda path: path.name)

Parsed = Mapping[str, Any]


def expected(folder: Path) -> Parsed:
    """Return the values that a version found in its own files."""
    found: Parsed = json.loads((folder / "expected.json").read_text())
    return found


def close(value: Any) -> Any:
    """Return numbers, at any depth, that compare up to rounding."""
    if isinstance(value, dict):
        return {key: close(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [close(inner) for inner in value]
    return pytest.approx(value, rel=1e-4, abs=1e-5) if isinstance(value, float) else value


def assert_has(read: Any, written: Any) -> None:
    """Fail unless every value of a file was read; settings that the file does not have are free."""
    if isinstance(written, dict):
        for key, value in written.items():
            assert_has(read[key], value)
    elif isinstance(written, list):
        for one, value in zip(read, written, strict=True):
            assert_has(one, value)
    else:
        assert read == written


@pytest.mark.parametrize("name", make.MODELS)
def test_models_predict_the_same(folder: Path, name: str) -> None:
    """Each kind of model, with its preprocessing, thresholds and temperature."""
    model = load_model(folder / name / "model.safetensors")
    assert make.predictions(model) == close(expected(folder)[name])


def test_settings_have_the_values_of_the_file(folder: Path) -> None:
    """TOML files of the trainer and of the network."""
    text = (folder / "trainer.toml").read_text()
    assert_has(TrainerConfig.from_toml(text).to_dict(), tomllib.loads(text))
    text = (folder / "network.toml").read_text()
    config = MLPConfig.from_toml(text)
    assert_has(json.loads(config.to_json()), tomllib.loads(text))
    assert MLP.from_config(config).config == config


@pytest.mark.parametrize("name", ["history.json", "run/history.json"])
def test_histories_have_the_values_of_the_file(folder: Path, name: str) -> None:
    """Every column of every row."""
    rows = json.loads((folder / name).read_text())["rows"]
    read = History.load_json(folder / name)
    assert len(read) == len(rows) > 0
    for row, written in zip(read, rows, strict=True):
        assert_has(row.to_dict(), written)


@pytest.mark.filterwarnings("ignore:.* was written with torch:UserWarning")
def test_the_checkpoint_resumes(folder: Path, tmp_path: Path) -> None:
    """The run continues within its epoch, and ends as it did in the version that wrote it."""
    checkpoint = load_checkpoint(folder / "checkpoint.pt")
    assert (checkpoint.state.step, checkpoint.state.batch) == (make.STOP_AT + 1, 1)
    assert checkpoint.versions["mlpkit"] == folder.name
    stop = make.StopAt(0)
    trainer = make.trainer(tmp_path, stop)
    result = make.fit(trainer, folder / "checkpoint.pt")
    assert make.outcome(trainer, result, stop) == close(expected(folder)["checkpoint"])


def test_the_commands_read_the_run_folder(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Evaluate finds the metrics in test.json; report, --resume and --config read the run."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder / "run", "run")
    assert cli.run(("evaluate", "run", "digits", "--json")) == 0
    found = json.loads(capsys.readouterr().out)
    assert_has(found, close(json.loads(Path("run/test.json").read_text())))
    assert cli.run(("report", "run", "--out", "report.html")) == 0
    written = tomllib.loads(Path("run/config.toml").read_text())
    assert cli.run(("train", "--config", "run/config.toml", "--runs", "again")) == 0
    (again,) = Path("again").iterdir()
    assert_has(tomllib.loads((again / "config.toml").read_text()), written)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* was written with torch")
        assert cli.run(("train", "--resume", "run")) == 0
    assert_has(json.loads(Path("run/test.json").read_text()), close(found))


def test_there_are_files_of_this_version(folder: Path) -> None:
    """A version cannot be released without its golden files."""
    assert version("mlpkit") in [path.name for path in VERSIONS]
