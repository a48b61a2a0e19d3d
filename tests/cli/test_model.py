"""The argument MODEL: a run folder, a model folder or a weights file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from mlpkit import MLP, MultilabelClassifier, Regressor, SoftmaxClassifier
from mlpkit.cli._model import as_classifier, load_model
from mlpkit.data import LabeledTensors
from mlpkit.errors import ArtifactError
from mlpkit.models import Ensemble
from mlpkit.training import History


def test_each_way_of_naming_a_model(digits_run: Path) -> None:
    """The run folder, its model folder and the weights file give the same model."""
    images = torch.randint(0, 17, (5, 8, 8), dtype=torch.uint8)
    model = load_model(digits_run)
    assert isinstance(model, SoftmaxClassifier)
    expected = model(images)
    for path in (digits_run / "model", digits_run / "model" / "model.safetensors"):
        assert torch.equal(load_model(path)(images), expected)


def test_each_kind_of_model_is_loaded(tmp_path: Path, digits_run: Path) -> None:
    """The class is that of the saved model; some commands need a SoftmaxClassifier."""
    network = MLP(4, (), 1)
    classifier = load_model(digits_run)
    assert as_classifier(classifier, "demo", digits_run) is classifier
    for model in (Regressor(network), MultilabelClassifier(network, classes=("a",))):
        model.save(tmp_path / "model")
        assert type(load_model(tmp_path)) is type(model)
        message = (
            f"MODEL must be a SoftmaxClassifier of images for mlpkit demo, got a "
            f"{type(model).__name__}; mlpkit export"
        )
        with pytest.raises(ArtifactError, match=message):
            as_classifier(load_model(tmp_path), "demo", tmp_path)


def test_an_ensemble_is_refused(tmp_path: Path) -> None:
    """The commands expect one network."""
    Ensemble([Regressor(MLP(4, (), 1))]).save(tmp_path / "model")
    message = "MODEL must be a model of one network for the command line, got an Ensemble; use it"
    for path in (tmp_path, tmp_path / "model"):
        with pytest.raises(ArtifactError, match=message):
            load_model(path)


@pytest.mark.parametrize(
    ("words", "command"),
    [(("demo", "model"), "demo"), (("predict", "a.png", "--model", "model"), "predict")],
)
def test_a_command_that_needs_classes_refuses_a_regressor(
    tmp_path: Path,
    words: tuple[str, ...],
    command: str,
    run_here: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The exit code is 1, the error is one line, and nothing is written."""
    Regressor(MLP(4, (), 1)).save(tmp_path / "model")
    before = sorted(tmp_path.rglob("*"))
    assert run_here(*words) == 1
    assert capsys.readouterr().err == (
        f"mlpkit: MODEL must be a SoftmaxClassifier of images for mlpkit {command}, got a "
        "Regressor; mlpkit export model writes it as one file that maps inputs to predictions\n"
    )
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("target", ["class", "number"])
def test_a_demo_of_a_table_names_the_command_that_predicts(
    tmp_path: Path, target: str, run_here: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pd.DataFrame({"x": [0.5, 1, 2, 4], "class": list("abab"), "number": [0.5, 1, 0, 2]})
    data = LabeledTensors.from_frame(frame[["x", target]], target)
    kind = SoftmaxClassifier if target == "class" else Regressor
    kind.for_data(data).save(tmp_path / "model")
    assert run_here("demo", "model") == 1
    assert capsys.readouterr().err == (
        "mlpkit: MODEL must be a SoftmaxClassifier of images for mlpkit demo, got a "
        f"{kind.__name__} of a table; mlpkit predict --model model FILE.csv prints its "
        "predictions\n"
    )
    frame.to_csv(tmp_path / "FILE.csv")
    assert run_here("predict", "--model", "model", "FILE.csv") == 0


def test_paths_without_a_model_raise(tmp_path: Path) -> None:
    """A missing path, an empty folder and an interrupted run raise."""
    with pytest.raises(ArtifactError, match=r"MODEL must be the folder of a run .*nowhere"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(ArtifactError, match=r"model.safetensors must be a file .*got none"):
        load_model(tmp_path)
    (tmp_path / "config.toml").touch()
    with pytest.raises(ArtifactError, match=r"MODEL must be a finished run.*--resume"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "digit.png", "--model", "run"),
        ("plot", "run"),
        ("report", "run"),
        ("evaluate", "run", "digits"),
    ],
)
@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "swapped", "missing"])
def test_a_damaged_model_in_a_run(
    tmp_path: Path,
    digits_run: Path,
    words: tuple[str, ...],
    damage: str,
    run_here: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The exit code is 1, the error is one line with the file, and nothing is written."""
    run = tmp_path / "run"
    shutil.copytree(digits_run / "model", run / "model")
    (run / "config.toml").write_text('dataset = "digits"\n')
    History([]).save_json(run / "history.json")
    weights = run / "model" / "model.safetensors"
    content = weights.read_bytes()
    if damage == "swapped":
        weights.write_bytes(content.replace(b"relu", b"tanh"))
    elif damage == "missing":
        weights.unlink()
    else:
        flipped = content[:-1] + bytes([content[-1] ^ 1])
        weights.write_bytes({"cut": content[:-5], "flipped": flipped, "empty": b""}[damage])
    before = sorted(tmp_path.rglob("*"))
    assert run_here(*words) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("mlpkit: ")
    assert "model.safetensors" in printed.err
    assert len(printed.err.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before
