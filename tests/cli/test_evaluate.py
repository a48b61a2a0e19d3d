"""`mlpkit evaluate` against the predictions of the classifier."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mlpkit.cli import _evaluate
from mlpkit.cli._evaluate import _check_fit
from mlpkit.data import DatasetName, LabeledTensors, Splits, digits, load
from mlpkit.errors import DataError
from mlpkit.models import MultilabelClassifier, Regressor, SoftmaxClassifier
from mlpkit.nn import MLP
from mlpkit.report import _run, read_run
from mlpkit.training import History


def test_the_metrics_are_those_of_the_predictions(
    digits_run: Path, run_here: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Oracle: accuracy and loss computed from the predictions; JSON has the unrounded values."""
    model, test = SoftmaxClassifier.load(digits_run / "model"), digits().test
    correct = model.predict(test.inputs) == test.targets
    chosen = model.predict_proba(test.inputs)[torch.arange(len(test)), test.targets]
    assert run_here("evaluate", str(digits_run), "digits") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"loss {-chosen.log().mean():.4f} on 360 examples")
    assert f"accuracy {correct.float().mean():.2%}" in lines[0]
    assert [line.split()[0] for line in lines[1:]] == ["class", *"0123456789"]
    words = ["evaluate", str(digits_run), "digits", "--split", "val", "--json"]
    assert run_here(*words) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["num_examples"] == 180
    val = digits().val
    assert val is not None
    assert printed["classification"]["accuracy"] == pytest.approx(
        (model.predict(val.inputs) == val.targets).double().mean()
    )


def test_the_temperature_is_included(digits_run: Path) -> None:
    """The loss is that of the calibrated probabilities."""
    model, test = SoftmaxClassifier.load(digits_run / "model"), digits().test
    model.temperature.fill_(3.0)
    chosen = model.predict_proba(test.inputs)[torch.arange(len(test)), test.targets]
    assert model.evaluate(test).loss == pytest.approx(float(-chosen.log().mean()), rel=1e-5)


@pytest.mark.parametrize(
    ("shape", "classes", "message"),
    [
        ((64,), "0123456789", "DATASET must be a data set with examples of the model's input"),
        ((8, 8), "abcdefghij", "DATASET must be a data set with the model's classes (a, b, c"),
    ],
)
def test_a_data_set_of_other_shapes_or_classes_is_an_error(
    tmp_path: Path,
    shape: tuple[int, ...],
    classes: str,
    message: str,
    run_here: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The exit code is 1, and no metrics are printed."""
    SoftmaxClassifier(MLP(64, (), 10), classes=tuple(classes), input_shape=shape).save(
        tmp_path / "model"
    )
    assert run_here("evaluate", "model", "digits") == 1
    assert capsys.readouterr().err.startswith(f"mlpkit: {message}")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            Regressor(MLP(64, (), 1), input_shape=(8, 8)),
            "the targets of a regression for a Regressor, got digits, which has classes",
        ),
        (
            MultilabelClassifier(MLP(64, (), 1), classes=("a",), input_shape=(8, 8)),
            "several labels for each example for a MultilabelClassifier, got digits, which has one "
            "class for each example",
        ),
    ],
    ids=["regressor", "labels"],
)
def test_a_data_set_of_other_targets_is_an_error(
    tmp_path: Path,
    model: Regressor | MultilabelClassifier,
    message: str,
    run_here: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The error is one line that says what the data set has, and how to evaluate the model."""
    model.save(tmp_path / "model")
    assert run_here("evaluate", "model", "digits") == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        f"mlpkit: DATASET must be a data set with {message}; evaluate the model on other data from "
        "Python with its method evaluate\n"
    )


def test_the_names_and_shapes_of_other_targets_must_fit() -> None:
    """Labels and targets with other names raise; targets without names take any data."""
    inputs, targets = torch.zeros(2, 4), torch.zeros(2, 1)
    named = LabeledTensors(inputs, targets, ("b",))
    labels = MultilabelClassifier(MLP(4, (), 1), classes=("a",))
    with pytest.raises(
        DataError, match=r"DATASET must be a data set with the model's labels \(a\)"
    ):
        _check_fit(labels, named, "mine")
    regressor = Regressor(MLP(4, (), 1), target_shape=(1,), target_names=("a",))
    with pytest.raises(DataError, match=r"the model's targets \(a\), got 'mine'"):
        _check_fit(regressor, named, "mine")
    _check_fit(Regressor(MLP(4, (), 1), target_shape=(1,)), named, "mine")
    classifier = SoftmaxClassifier(MLP(4, (), 2), classes=("a", "b"))
    with pytest.raises(DataError, match=r"one class for each example .*has floating-point targets"):
        _check_fit(classifier, named, "mine")


@pytest.mark.parametrize("command", [("evaluate", "digits"), ("export",), ("demo",)])
def test_a_wrong_path_and_a_corrupt_model(
    tmp_path: Path,
    digits_run: Path,
    command: tuple[str, ...],
    run_here: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The exit code is 1, the error is one line with the path, and nothing is written."""
    first, *rest = command
    assert run_here(first, "nowhere", *rest) == 1
    printed = capsys.readouterr()
    assert "'nowhere'" in printed.err
    assert len(printed.err.splitlines()) == 1
    model = tmp_path / "model"
    model.mkdir()
    content = (digits_run / "model" / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(content[:-3] + b"abc")
    assert run_here(first, "model", *rest) == 1
    printed = capsys.readouterr()
    assert "model.safetensors must hold the weights that were saved" in printed.err
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_data_is_found_where_the_run_found_it(
    digits_run: Path, run_here: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evaluate and report use the root and verify of the run, unless --root is given."""
    folder = tmp_path / "run"
    shutil.copytree(digits_run / "model", folder / "model")
    (folder / "config.toml").write_text('dataset = "digits"\nroot = "/files"\nverify = false\n')
    History(()).save_json(folder / "history.json")
    found: list[tuple[str | None, bool]] = []

    def load_and_note(name: DatasetName, root: Path | None = None, *, verify: bool) -> Splits:
        found.append((None if root is None else str(root), verify))
        return load(name)

    monkeypatch.setattr(_evaluate, "load", load_and_note)
    monkeypatch.setattr(_run, "load", load_and_note)
    assert run_here("evaluate", str(folder), "digits") == 0
    assert run_here("evaluate", str(folder), "digits", "--root", "here") == 0
    read_run(folder)
    (folder / "config.toml").write_text('dataset = "mnist"\nroot = "/files"\n')
    assert run_here("evaluate", str(folder), "digits") == 0
    assert found == [("/files", False), ("here", False), ("/files", False), (None, True)]
